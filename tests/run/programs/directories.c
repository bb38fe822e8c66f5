// Directories: mkdir, readdir, rename, links, chdir of the whole process, getcwd, realpath, access, rmdir, statvfs,
// ftw.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "check.h"

static int visited;
static int visit(const char* path, const struct stat* status, int flag, struct FTW* where) {
  (void)path, (void)status, (void)flag, (void)where;
  ++visited;
  return 0;
}

static void* body(void* argument) {
  char name[32], renamed[64], text[64];
  snprintf(name, sizeof name, "file-%ld", (long)argument);
  snprintf(renamed, sizeof renamed, "sub/renamed-%ld", (long)argument);
  const int fd = open(name, O_CREAT | O_WRONLY, 0600);
  CHECK(fd >= 0 && write(fd, name, strlen(name)) > 0 && close(fd) == 0);
  CHECK(rename(name, renamed) == 0 && access(name, F_OK) == -1 && access(renamed, R_OK) == 0);
  CHECK(symlink(renamed, name) == 0);
  CHECK(readlink(name, text, sizeof text) == (ssize_t)strlen(renamed) && memcmp(text, renamed, strlen(renamed)) == 0);
  char real[PATH_MAX];
  CHECK(realpath(name, real) != NULL && strstr(real, renamed) != NULL);
  struct stat status;
  CHECK(lstat(name, &status) == 0 && S_ISLNK(status.st_mode) && stat(name, &status) == 0 && S_ISREG(status.st_mode));
  CHECK(chmod(renamed, 0400) == 0 && stat(renamed, &status) == 0 && (status.st_mode & 0777) == 0400);
  return NULL;
}

static void* change(void* argument) {
  CHECK(chdir(argument) == 0);
  return NULL;
}

static int name_order(const struct dirent** a, const struct dirent** b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void* list(void* argument) {
  struct dirent** entries;
  const int count = scandir(argument, &entries, NULL, name_order);
  CHECK(count == kThreads + 2);
  CHECK(strcmp(entries[2]->d_name, "renamed-0") == 0 && strcmp(entries[9]->d_name, "renamed-7") == 0);
  for (int i = 0; i < count; ++i) free(entries[i]);
  free(entries);
  return NULL;
}

int main(void) {
  char before[PATH_MAX], inside[PATH_MAX];
  CHECK(getcwd(before, sizeof before) != NULL);
  CHECK(mkdir("directory", 0700) == 0);
  join(start(change, "directory"));  // the directory is the process's
  CHECK(getcwd(inside, sizeof inside) != NULL && strncmp(inside, before, strlen(before)) == 0);
  printf("inside %s\n", inside + strlen(before));
  CHECK(mkdir("sub", 0700) == 0 && mkdir("sub", 0700) == -1 && errno == EEXIST);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  for (int i = 0; i < kThreads; ++i) threads[i] = start(list, "sub");
  join_all(threads);
  CHECK(nftw(".", visit, 10, FTW_PHYS) == 0);
  printf("visited %d\n", visited);
  struct statvfs space;
  CHECK(statvfs(".", &space) == 0 && space.f_bsize > 0);
  CHECK(rmdir("sub") == -1 && (errno == ENOTEMPTY || errno == EEXIST));
  for (int i = 0; i < kThreads; ++i) {
    char name[32];
    snprintf(name, sizeof name, "sub/renamed-%d", i);
    CHECK(unlink(name) == 0);
    snprintf(name, sizeof name, "file-%d", i);
    CHECK(unlink(name) == 0);
  }
  CHECK(rmdir("sub") == 0 && chdir("..") == 0 && rmdir("directory") == 0);
  umask(027);
  CHECK(umask(022) == 027);
  puts("ok");
  return 0;
}

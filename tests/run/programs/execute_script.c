// A file that may be executed but is neither a program nor begins with #!: execve says so, and execvp has sh run it.
#include <fcntl.h>
#include <sys/wait.h>

#include "check.h"

static void write_file(const char* name, const char* text, size_t bytes) {
  const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0700);
  CHECK(fd >= 0 && write(fd, text, bytes) == (ssize_t)bytes && close(fd) == 0);
}

static void* execute(void* argument) {
  char* words[] = {"script", "an argument", NULL};
  char* none[] = {NULL};
  CHECK(execve("./binary", words, none) == -1 && errno == ENOEXEC);
  CHECK(execve("./script", words, none) == -1 && errno == ENOEXEC);
  CHECK(execve("./empty", words, none) == -1 && errno == ENOEXEC);
  execvp("./script", words);
  CHECK(!"execvp returned");
  return argument;
}

int main(void) {
  const char script[] = "echo script: $1\nexit 4\n";
  write_file("script", script, sizeof script - 1);
  write_file("binary", "\1\0\2", 3);
  write_file("empty", "", 0);
  const pid_t child = fork();
  if (child == 0) execute(NULL);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 4);
  join(start(execute, NULL));
  return 1;
}

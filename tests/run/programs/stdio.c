// stdio from many threads: whole lines, flockfile, files, memory streams, scanf, ungetc, tmpfile, standard input.
#define _GNU_SOURCE
#include "check.h"

static FILE* shared;

static void* body(void* argument) {
  const long me = (long)argument;
  for (int i = 0; i < 50; ++i) {
    CHECK(fprintf(shared, "%ld says %d\n", me, i) > 0);
    flockfile(shared);
    CHECK(fputs("two ", shared) >= 0);
    CHECK(fprintf(shared, "parts %ld\n", me) > 0);
    funlockfile(shared);
  }
  char* text;
  size_t bytes;
  FILE* const memory = open_memstream(&text, &bytes);
  CHECK(fprintf(memory, "%ld %.2f", me, 0.5) > 0 && fclose(memory) == 0);
  long number;
  double fraction;
  CHECK(sscanf(text, "%ld %lf", &number, &fraction) == 2 && number == me && fraction == 0.5);
  free(text);
  FILE* const temporary = tmpfile();
  CHECK(temporary != NULL && fputs("temporary", temporary) >= 0 && fseek(temporary, 4, SEEK_SET) == 0);
  CHECK(fgetc(temporary) == 'o' && ungetc('O', temporary) == 'O' && fgetc(temporary) == 'O' && ftell(temporary) == 5);
  CHECK(fclose(temporary) == 0);
  return NULL;
}

int main(void) {
  shared = fopen("lines", "w+");
  CHECK(shared != NULL);
  pthread_t threads[kThreads];
  start_all(threads, body);
  join_all(threads);
  rewind(shared);
  int next[kThreads] = {0}, parts[kThreads] = {0};
  char* line = NULL;
  size_t room = 0;
  int count = 0;
  for (; getline(&line, &room, shared) > 0; ++count) {
    int who, what;
    if (sscanf(line, "%d says %d", &who, &what) == 2)
      CHECK(what == next[who]++);
    else
      CHECK(sscanf(line, "two parts %d", &who) == 1 && ++parts[who] <= 50);
  }
  free(line);
  fclose(shared);
  unlink("lines");
  printf("lines %d\n", count);
  int character, characters = 0;
  while ((character = getchar()) != EOF) ++characters;
  printf("input %d\n", characters);
  fprintf(stderr, "to standard error\n");
  return 0;
}

// Part of the preloaded library (preload.h): the program does not see in its environment that it was loaded.
#include <stddef.h>

// The variable that had this file loaded becomes what the user has set, or goes.
__attribute__((constructor)) static void hide(int argument_count, char** arguments, char** environment) {
  static const char kOurs[] = GALLOCY_PRELOAD;
  (void)argument_count;
  (void)arguments;
  for (; *environment != NULL; ++environment) {
    size_t same = 0;
    while (kOurs[same] != '\0' && (*environment)[same] == kOurs[same]) ++same;
    if (kOurs[same] != '\0') continue;
    char* const rest = *environment + same;
    if (*rest == ':') {  // LD_PRELOAD=ours:theirs
      char* to = *environment + (sizeof "LD_PRELOAD=" - 1);
      for (const char* from = rest + 1; (*to++ = *from++) != '\0';) {
      }
      return;
    }
    if (*rest != '\0') continue;
    do environment[0] = environment[1];
    while (*environment++ != NULL);
    return;
  }
}

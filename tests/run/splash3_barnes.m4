divert(-1)
BARNES prints no result. Built with this file after the macros of Splash-3, it prints the places of the bodies at its end:
  make -C apps/barnes MACROS="$PWD/pthread_macros/pthread.m4.stougie SOURCES/tests/run/splash3_barnes.m4"
define(`SPLASH3_ROI_END', `{
  for (bodyptr body = bodytab; body < bodytab + nbody; ++body)
    printf("body %10.6f %10.6f %10.6f\n", Pos(body)[0], Pos(body)[1], Pos(body)[2]);
}')
divert(0)dnl

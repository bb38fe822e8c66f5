// The vDSO that the program gets through AT_SYSINFO_EHDR (vdso(7)): a tiny shared object in coherent memory, the same
// on all nodes. Each function jumps to the present node's own, whose address is in the GuestThread that gs points to
// (guest_entry.h): the clock is read without a system call, and nodes may run different kernels.
#define FUNCTION(name, place)                        \
  asm(".globl __vdso_" #name "\n.type __vdso_" #name \
      ", @function\n"                                \
      "__vdso_" #name ": jmp *%gs:" #place "\n.size __vdso_" #name ", .-__vdso_" #name "\n")

FUNCTION(clock_gettime, 32);
FUNCTION(gettimeofday, 40);
FUNCTION(time, 48);
FUNCTION(getcpu, 56);
FUNCTION(clock_getres, 64);

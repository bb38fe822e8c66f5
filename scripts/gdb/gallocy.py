"""gdb for programs of `gallocy run --debug`: shows the unmodified program on the first node.

    gdb -x gallocy.py
    (gdb) gallocy attach PID        of the first node, which has the program's name (pgrep -x NAME)
    (gdb) bt                        also across the border between program and runtime
    (gdb) print variable            as this node has it
    (gdb) gallocy print EXPRESSION  fetches what is on other nodes first; for that the program runs for a moment
    (gdb) gallocy symbols           again, after the program has loaded more libraries; it runs for a moment, too

The process is asked (src/personality/debugger.h) while it is not stopped.
"""
import re
import socket
import struct

import gdb
from gdb.unwinder import Unwinder, register_unwinder

# What the runtime uses for itself or passes to the program. (gdb knows no SIGSTKFLT, and stops there.)
for signal in ("SIGSYS", "SIGSEGV", "SIGBUS"):
    gdb.execute("handle %s nostop noprint pass" % signal, to_string=True)

ET_DYN = 3
PT_LOAD = 1


def ask(pid, *requests):
    """The answers of the process, which must be running."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("")
        channel.settimeout(10)
        try:
            channel.connect("\0gallocy-debug-%d" % pid)
            for request in requests:
                channel.send(request.encode())
                yield channel.recv(1 << 16).decode()
        except OSError as error:
            raise gdb.GdbError("process %d is no first node of `gallocy run --debug`: %s" % (pid, error))


def while_it_runs(function):
    """Lets the process go while `function` asks it."""
    pid = gdb.selected_inferior().pid
    if pid == 0:
        raise gdb.GdbError("gallocy attach PID comes first")
    thread = gdb.selected_thread().ptid
    gdb.execute("detach", to_string=True)
    try:
        return function(pid)
    finally:
        gdb.execute("attach %d" % pid, to_string=True)
        for other in gdb.selected_inferior().threads():
            if other.ptid == thread:
                other.switch()


def first_address(path):
    """Where the file itself says that it begins; None: it is no ELF object. Objects with fixed addresses: 'fixed'."""
    with open(path, "rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:5] != b"\x7fELF\x02":
            return None
        kind, = struct.unpack_from("<H", header, 16)
        if kind != ET_DYN:
            return "fixed"
        table, = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        for i in range(count):
            file.seek(table + i * size)
            segment = file.read(56)
            if struct.unpack_from("<I", segment)[0] == PT_LOAD:
                return struct.unpack_from("<Q", segment, 16)[0] & ~0xFFF
    return None


known = set()


def mappings(pid):
    text = ""
    while piece := next(ask(pid, "maps %d" % len(text))):
        text += piece
    return text


def add_symbols(maps):
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 6 or not fields[5].startswith("/") or int(fields[2], 16) != 0:
            continue
        path, begin = fields[5], int(fields[0].split("-")[0], 16)
        try:
            first = first_address(path)
        except OSError:
            continue
        if first is None or (path, begin) in known:
            continue
        known.add((path, begin))
        offset = 0 if first == "fixed" else begin - first
        gdb.execute("add-symbol-file '%s' -o %#x" % (path, offset), to_string=True)


def fetch(address, size):
    if while_it_runs(lambda pid: next(ask(pid, "fetch %d %d" % (address, size)))) != "yes":
        raise gdb.GdbError("Cannot access memory at address %#x" % address)


class Attach(gdb.Command):
    """gallocy attach PID: like attach, with the program's symbols."""

    def __init__(self):
        super().__init__("gallocy attach", gdb.COMMAND_RUNNING)

    def invoke(self, argument, from_tty):
        pid = int(argument)
        maps = mappings(pid)
        # The node's own executable first, so that its symbols are there too.
        gdb.execute("file /proc/%d/exe" % pid, to_string=True)
        gdb.execute("attach %d" % pid, to_string=True)
        add_symbols(maps)
        register_unwinder(None, Border(), replace=True)
        gdb.invalidate_cached_frames()


class Gallocy(gdb.Command):
    """Programs of `gallocy run`."""

    def __init__(self):
        super().__init__("gallocy", gdb.COMMAND_DATA, prefix=True)


class Symbols(gdb.Command):
    """Adds the symbols of the program and its libraries."""

    def __init__(self):
        super().__init__("gallocy symbols", gdb.COMMAND_FILES)

    def invoke(self, argument, from_tty):
        add_symbols(while_it_runs(mappings))


class Print(gdb.Command):
    """gallocy print EXPRESSION: its value, wherever in the cluster it is."""

    def __init__(self):
        super().__init__("gallocy print", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        for _ in range(100):  # each pointer on the way may lead to another page
            try:
                value = gdb.parse_and_eval(argument)
                if value.address is not None:
                    fetch(int(value.address), value.type.sizeof)
                    value = gdb.parse_and_eval(argument)
                print("%s = %s" % (argument, value.format_string()))
                return
            except gdb.MemoryError as error:
                missing = re.search("0x[0-9a-f]+", str(error))
                if missing is None:
                    raise
                fetch(int(missing.group(), 16), 1)


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


# Of the kernel's signal frame (arch/x86/include/uapi/asm/sigcontext.h), 40 bytes behind the ucontext's beginning.
SAVED = "r8 r9 r10 r11 r12 r13 r14 r15 rdi rsi rbp rbx rdx rax rcx rsp rip".split()
KEPT = "rbx rbp r12 r13 r14 r15".split()


class Border(Unwinder):
    """The stubs of guest_entry.cc and patched_entry.cc, by which the program enters the runtime."""

    def __init__(self):
        super().__init__("gallocy border")
        self.at = {}
        for name in ("gallocy_on_system_call", "gallocy_on_signal", "gallocy_return_begin", "gallocy_patched_call",
                     "gallocy_patched_done"):
            self.at[name] = int(gdb.parse_and_eval("(unsigned long)&%s" % name))

    def __call__(self, frame):
        pc, sp = int(frame.read_register("rip")), int(frame.read_register("rsp")) & (1 << 64) - 1
        at = self.at
        if pc == at["gallocy_return_begin"]:
            return self.unwind(frame, pc, sp, {name: sp + 40 + 8 * i for i, name in enumerate(SAVED)})
        if at["gallocy_on_system_call"] <= pc < at["gallocy_on_signal"]:
            return self.unwind(frame, pc, sp, {"rbx": sp, "rip": sp + 8}, sp + 16)
        if at["gallocy_on_signal"] <= pc < at["gallocy_return_begin"]:
            return self.unwind(frame, pc, sp, {"r13": sp, "r12": sp + 8, "rbx": sp + 16, "rip": sp + 24}, sp + 32)
        if at["gallocy_patched_call"] <= pc < at["gallocy_patched_done"]:
            return self.unwind(frame, pc, sp, {"rbx": sp, "rip": sp + 64, "rsp": sp + 72})
        return None

    @staticmethod
    def unwind(frame, pc, sp, places, rsp=None):
        word = gdb.lookup_type("unsigned long")
        info = frame.create_unwind_info(FrameId(gdb.Value(sp).cast(word), gdb.Value(pc).cast(word)))
        memory = gdb.selected_inferior()
        values = {name: frame.read_register(name) for name in KEPT}
        for name, place in places.items():
            values[name] = gdb.Value(struct.unpack("<Q", memory.read_memory(place, 8))[0]).cast(word)
        if rsp is not None:
            values["rsp"] = gdb.Value(rsp).cast(word)
        for name, value in values.items():
            info.add_saved_register(name, value)
        return info


Gallocy()
Attach()
Symbols()
Print()

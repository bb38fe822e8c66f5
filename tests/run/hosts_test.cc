// `gallocy run --hosts`: the same results as natively on hosts that have neither the program nor its libraries nor its
// files.
#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "run_fixture.h"

namespace gallocy::testing {
namespace {

constexpr milliseconds kBound{60'000};

class RunOnHosts : public BareHosts, public ::testing::WithParamInterface<unsigned> {
 protected:
  RunOnHosts() : BareHosts(2) {}

  void expect_as_natively(const Arguments& program, const std::string& input = {}) {
    Process natively(program, {.environment = {}, .input = input});
    const int status = natively.wait(kBound);
    auto here = run_on_hosts(GetParam(), program, {.environment = {}, .input = input});
    EXPECT_EQ(here->wait(kBound), status) << here->error();
    EXPECT_EQ(here->output(), natively.output()) << here->error();
    EXPECT_EQ(here->error(), natively.error());
  }
};

TEST_P(RunOnHosts, programs_of_the_suite) {
  for (const char* name : {"threads", "condvars", "files", "signals", "spawn", "thread_locals", "linked_no_pie"}) {
    SCOPED_TRACE(name);
    expect_as_natively({std::string(RUN_PROGRAMS) + "/" + name});
  }
}

// Hosts that cannot reach the home's process read its files through it.
TEST_P(RunOnHosts, mapped_files) {
  expect_as_natively({std::string(RUN_PROGRAMS) + "/mmap_untouched"});
  namespaces_ = "unshare -m -p -f --kill-child";
  expect_as_natively({std::string(RUN_PROGRAMS) + "/mmap_untouched"});
}

// Hosts that started at other times than the home.
TEST_P(RunOnHosts, clocks) {
  timespec up{};
  ::clock_gettime(CLOCK_MONOTONIC, &up);  // no clock may be set to before its start
  for (const std::int64_t offset : {std::int64_t{-up.tv_sec / 2}, std::int64_t{100'000}}) {
    const std::string started = std::to_string(offset);
    SCOPED_TRACE(started);
    namespaces_ = "unshare -m -T -f --kill-child --monotonic " + started + " --boottime " + started;
    // Clocks of two machines can be compared no better than to half of a round trip.
    expect_as_natively({std::string(RUN_PROGRAMS) + "/clocks", "1000000"});
    expect_as_natively({std::string(RUN_PROGRAMS) + "/sleeps"});
  }
}

TEST_P(RunOnHosts, python_threads) {
  if (::access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "there is no python3";
  expect_as_natively({"/usr/bin/python3", "-c",
                      "import threading, queue\n"
                      "q, out = queue.Queue(), []\n"
                      "def work():\n"
                      "    while (n := q.get()) is not None: out.append(n * n)\n"
                      "threads = [threading.Thread(target=work) for _ in range(4)]\n"
                      "for t in threads: t.start()\n"
                      "for n in range(100): q.put(n)\n"
                      "for t in threads: q.put(None)\n"
                      "for t in threads: t.join()\n"
                      "print(sum(out), len(out))\n"});
}

TEST_P(RunOnHosts, pigz_in_a_pipe) {
  if (::access("/usr/bin/pigz", X_OK) != 0) GTEST_SKIP() << "there is no pigz";
  std::string text;
  for (int i = 0; i < 60'000; ++i) text += std::to_string(i) + "\n";
  expect_as_natively({"/usr/bin/pigz", "-p", "4", "-b", "128", "-n", "-c"}, text);
}

// Each thread of it reads and writes files of its own; they are the home's, wherever it runs.
TEST_P(RunOnHosts, files_of_remote_threads_are_at_home) {
  if (::access("/usr/bin/python3", X_OK) != 0) GTEST_SKIP() << "there is no python3";
  std::ofstream(folder_ + "/input") << "from home";
  auto launcher =
      run_on_hosts(GetParam(), {"/usr/bin/python3", "-c",
                                "import threading, sys\n"
                                "d = sys.argv[1]\n"
                                "def work(n): open(f'{d}/output{n}', 'w').write(open(d + '/input').read() + f' {n}')\n"
                                "threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
                                "for t in threads: t.start()\n"
                                "for t in threads: t.join()\n"
                                "print('written')\n",
                                folder_});
  ASSERT_EQ(launcher->wait(kBound), 0) << launcher->error();
  EXPECT_EQ(launcher->output(), "written\n");
  for (int n = 0; n < 4; ++n) {
    std::ifstream file(folder_ + "/output" + std::to_string(n));
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(text, "from home " + std::to_string(n));
  }
}

TEST_P(RunOnHosts, a_trace_has_the_threads_of_all_hosts) {
  flags_ = {"--trace", folder_ + "/trace.json"};
  auto launcher = run_on_hosts(GetParam(), {std::string(RUN_PROGRAMS) + "/look_inside"});
  ASSERT_EQ(launcher->wait(kBound), 0) << launcher->error();
  std::ifstream file(folder_ + "/trace.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  for (unsigned node = 0; node <= GetParam(); ++node) {
    const std::string track = "\"pid\": " + std::to_string(node) + ", \"tid\": ";
    EXPECT_NE(text.find("{\"ph\": \"X\", " + track), std::string::npos) << text.substr(0, 4'000);
  }
}

INSTANTIATE_TEST_SUITE_P(hosts, RunOnHosts, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace gallocy::testing

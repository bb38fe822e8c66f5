#include "options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <sstream>
#include <string_view>

#include "net/rendezvous.h"
#include "wire/vmm.h"

#ifndef GALLOCY_VERSION
#error "GALLOCY_VERSION comes from the build"
#endif

namespace gallocy::command {

using std::string_view_literals::operator""sv;

namespace {

constexpr const char* kLaunchNotes = R"(
Each node is an instance of the program with its own main; the library's Node::join() makes them one cluster.

Output: the lines of all nodes appear whole and, per node, in order; lines over 1 MiB are cut. The program writes
  to pipes, not to the terminal, so C stdio buffers its output fully: it shows up at a flush or at the end.
Input: node 0 has this command's standard input, the others have none.
Signals: INT, TERM, HUP, QUIT, USR1, USR2, TSTP and CONT are passed on to every node.
Exit status: 0 if all nodes gave 0, else that of the first that failed (128 + signal if it was killed). 64 wrong
  flags, 68 a host cannot be reached, 70 a node was lost, 72 the port is taken, 73 output cannot be written,
  75 nodes did not join in time, 126 the program cannot be executed, 127 there is no such program.
Hosts: `gallocy agent` is started on each through ssh, or as --launch says, for instance
    --launch 'docker exec -i {host} {command}'     --launch 'ip netns exec {host} {command}'
  with the same path of gallocy and of the program there. Inside a Slurm job the hosts are those of the job.
)";

// Of launch and run.
void add_nodes(CLI::App& app, LaunchOptions& options) {
  app.add_option("-n,--nodes", options.nodes, "Nodes to start (1 to 1000); default: one per host")
      ->check(CLI::Range(1u, static_cast<unsigned>(kMaxNodes)));
  app.add_option("--transport", options.transport, "tcp or shm; default: shm on one machine, tcp between machines")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, net::LinkKind>{{"tcp", net::LinkKind::kTcp}, {"shm", net::LinkKind::kShm}}));
  app.add_option("--hosts", options.hosts, "Machines to use: a,b:4,c (name:nodes)")->delimiter(',');
  app.add_option("--launch", options.launch_template, "How to run {command} on {host}; default: ssh");
  app.add_option("--remote-command", options.remote_command, "Path of gallocy on the hosts; default: as here");
  app.add_option(
      "--address", options.address,
      "Address at which the hosts reach this machine; default: that of the interface towards the first host");
  app.add_option("--port", options.port, "Port at which the nodes find the launcher; default: any free one");
  app.add_option("--directory", options.directory, "Where the program starts; default: this directory");
  app.add_option_function<std::string>(
      "--memory",
      [&options](const std::string& text) {
        auto bytes = net::parse_memory_size(text);
        if (!bytes) throw CLI::ValidationError("--memory", bytes.error().message);
        options.memory_bytes = *bytes;
      },
      "Memory that each node may hold, such as 512M or 4G; default: 3/4 of the machine's, shared by its nodes");
  app.add_option("--fault-engine", options.fault_engine, "How page faults are caught; default: the fastest available")
      ->check(CLI::IsMember({"uffd-sigbus", "uffd-thread", "sigsegv"}));
  app.add_option("--join-timeout", options.join_timeout_s, "Seconds for all nodes to join")->check(CLI::Range(1, 3600));
  app.add_option("--connect-timeout", options.connect_timeout_s, "Seconds to reach a host")->check(CLI::Range(1, 3600));
  app.add_flag("--insecure-network", options.insecure_network, "Do not encrypt between machines");
  app.add_option("--secret-file", options.secret_file, "Cluster secret, in a file of mode 0600; default: a new one");
  app.add_option("--stats", options.stats_file, "Write the counters of all nodes to this file as JSON at the end");
  app.add_option("program", options.program, "Program and its arguments, after --");
  app.positionals_at_end();
}

void add_shards(CLI::App& app, unsigned& shards) {
  app.add_option("--shards", shards,
                 "Divide the address space among so many logs, each with a leader of its own (1 to 8); default: 1")
      ->check(CLI::Range(1u, wire::kMaxShards));
}

void add_launch(CLI::App& app, LaunchOptions& options) {
  add_nodes(app, options);
  app.footer(kLaunchNotes);
  app.add_option("--on-peer-lost", options.on_peer_lost, "When a node dies: end the others, or continue")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, OnPeerLost>{{"end", OnPeerLost::kEnd}, {"continue", OnPeerLost::kContinue}}));
  app.add_option(
      "--log-dir", options.log_dir,
      "Keep the cluster's log (who is a member, regions, names) and durable memory here on each machine, so that they "
      "survive the end of all nodes; start again with as many nodes");
  add_shards(app, options.shards);
  app.add_flag("--prefix", options.prefix, "Put [node] before each line of output");
}

constexpr const char* kRunNotes = R"(
The program need not know of gallocy: its threads run on all nodes, in one address space. Files, sockets, standard input
  and output and child processes are this machine's. With --hosts the first node is this machine, and the others are on
  the hosts, which need neither the program nor its files; -n counts all of them.
Signals to this command are the program's; ^Z stops all nodes.
Exit status: the program's; if a signal ended it, the command ends by that signal. 64 wrong flags, 66 a directory or
  file is not there, 68 a host cannot be reached, 70 a node was lost, 72 the port is taken, 73 the statistics cannot be written, 75 nodes did not
  join in time, 77 the secret file can be read by others, 126 the program cannot be executed, 127 there is no such program.
When a node's machine does not answer for most of a second, its process for 5 (it is stopped, say), or it ends, the program
  and its children in the same session are killed.
)";

void add_run(CLI::App& app, LaunchOptions& options) {
  add_nodes(app, options);
  app.add_flag("--stat", options.report, "Say at the end what the program did where");
  app.add_flag("--debug", options.debug,
               "For gdb with scripts/gdb/gallocy.py: a silent node is not given up, as a debugger may have stopped it");
  app.add_option("--trace", options.trace_file,
                 "Write what each thread did when to this file at the end, for ui.perfetto.dev or chrome://tracing");
  app.add_flag("--backtrace", options.backtrace, "When the program crashes say how the thread got there, on any node");
  app.footer(kRunNotes);
  app.add_option(
      "--place", options.place,
      "Where new threads go: spread over the nodes (default), packed on the first (pack), or a list of nodes, used "
      "in turn: 1,2,2");
}

void add_stat(CLI::App& app, StatOptions& options) {
  app.add_option("run", options.run, "Which run (see --list); default: the one that runs now, else the last");
  app.add_flag("--last", options.last, "The last run that has finished");
  app.add_flag("--list", options.list, "Name the runs that are known");
  app.add_flag("--json", options.json, "All that is known, as JSON");
  app.add_flag("--watch", options.watch, "Show it again every second until the run ends");
}

constexpr const char* kServeNotes = R"(
The first node founds the cluster: --listen only. Others join through any member: --join. Programs written on the library
  join with GALLOCY_JOIN=ADDR and GALLOCY_SECRET_FILE=F in their environment, as further nodes, and leave when they end.
The node prints one line when it is a member, and serves until `gallocy leave`, SIGTERM or SIGINT, on which what it keeps
  for others moves to them first. A second signal ends it at once: for the others it has died then.
With --log-dir, on all nodes, the cluster survives the end of all: started again as before, they wait for each other, and have what
  they had of the log and of durable memory. A signal ends such a node at once, and it keeps its place; `gallocy leave` gives it up.
  Those that start again while others go on join them as new members. The unit gallocy-node.service reads GALLOCY_LOG_DIR.
Exit status: 0 when it has left in order, 64 wrong flags, 66 no secret file, 68 the member cannot be reached, 70 the others
  went on without it, 72 the port is taken, 73 its disk failed, 75 it was not let in in time, or others did not start again, 76 another
  version, 77 wrong secret, or the secret file can be read by others, 78 another process uses the folder, 80 the cluster has its log
  in memory, or the folder is of another cluster.
)";

void add_memory(CLI::App& app, std::function<void(std::uint64_t)> take, const char* description) {
  app.add_option_function<std::string>(
      "--memory",
      [take = std::move(take)](const std::string& text) {
        auto bytes = net::parse_memory_size(text);
        if (!bytes) throw CLI::ValidationError("--memory", bytes.error().message);
        take(*bytes);
      },
      description);
}

void add_serve(CLI::App& app, ServeOptions& options) {
  NodeOptions& node = options.node;
  app.add_option("--listen", node.listen, "Where other nodes reach this one: host:port; default with --join: any port");
  app.add_option("--join", node.join, "A member of the cluster to join: host:port; without it a cluster is founded");
  add_memory(
      app, [&node](std::uint64_t bytes) { node.memory_bytes = bytes; },
      "Memory that this node may hold, such as 512M or 4G; default: 3/4 of the machine's");
  app.add_option("--secret-file", node.secret_file,
                 "The cluster's secret, in a file of mode 0600; default: what GALLOCY_SECRET_FILE names");
  app.add_option("--fault-engine", node.fault_engine, "How page faults are caught; default: the fastest available")
      ->check(CLI::IsMember({"uffd-sigbus", "uffd-thread", "sigsegv"}));
  app.add_option_function<unsigned>(
         "--join-timeout", [&node](unsigned seconds) { node.join_timeout = std::chrono::seconds(seconds); },
         "Seconds to become a member; default: 30")
      ->check(CLI::Range(1u, 3600u));
  app.add_flag("--insecure-network", node.insecure_network, "Do not encrypt between machines; all nodes or none");
  app.add_option("--log-dir", options.log_dir,
                 "Keep the cluster's log and what is durable in this folder: of all nodes of the cluster, or of none");
  app.add_option("--without", options.without,
                 "All nodes start again, but these (by number, 1,2 ...), which are lost for good")
      ->delimiter(',')
      ->check(CLI::Range(0u, kMaxNodes - 1u));
  add_shards(app, options.shards);
  app.footer(kServeNotes);
}

void add_member(CLI::App& app, MemberOptions& options) {
  app.add_option("address", options.address, "A member: host:port; default: what GALLOCY_JOIN names");
  app.add_option("--secret-file", options.secret_file,
                 "The cluster's secret, in a file of mode 0600; default: what GALLOCY_SECRET_FILE names");
  app.add_flag("--insecure-network", options.insecure_network, "The cluster does not encrypt between machines");
  app.add_option("--timeout", options.timeout_s, "Seconds until the member answers")->check(CLI::Range(1u, 3600u));
}

// One line: CLI11 separates several by newlines.
std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

Outcome<Options> parse_command_line(int count, char** arguments) {
  CLI::App app("One huge computer out of many small ones.", "gallocy");
  app.set_version_flag("--version", "gallocy " GALLOCY_VERSION);
  app.require_subcommand(1);
  LaunchOptions launch;
  DoctorOptions doctor;
  StatOptions stat;
  auto* run_command = app.add_subcommand("run", "Run an unmodified program as one process on many nodes");
  auto* launch_command = app.add_subcommand("launch", "Start a program as a cluster of nodes");
  auto* doctor_command =
      app.add_subcommand("doctor", "Say what this machine offers and what to do about what is missing");
  auto* stat_command = app.add_subcommand("stat", "Show the counters of a running or finished cluster");
  ServeOptions serve;
  MemberOptions status{.verb = MemberOptions::Verb::kStatus}, leave{.verb = MemberOptions::Verb::kLeave};
  auto* node_command =
      app.add_subcommand("node", "Be a node of a cluster that lives on: memory for the programs of others");
  auto* status_command = app.add_subcommand("status", "Show the members of such a cluster, its regions and its memory");
  auto* leave_command =
      app.add_subcommand("leave", "Let a node leave such a cluster, when all it keeps has moved away");
  add_serve(*node_command, serve);
  add_member(*status_command, status);
  status_command->add_flag("--json", status.json, "All that is known, as JSON");
  add_member(*leave_command, leave);
  leave_command->add_option("--node", leave.node, "Which node, by number; default: the one at that address");
  auto* agent_command = app.add_subcommand("agent", "")->group("");  // started by launch on other hosts
  LaunchOptions run;
  add_launch(*launch_command, launch);
  add_run(*run_command, run);
  doctor_command->add_flag("--json", doctor.json, "The same as JSON");
  add_stat(*stat_command, stat);

  // What follows -- is the program's and no business of the parser, which would take "[a,b]" apart.
  char** const mark = std::find_if(arguments, arguments + count, [](const char* word) { return word == "--"sv; });
  const auto own_count = static_cast<int>(mark - arguments);
  try {
    app.parse(own_count, arguments);
  } catch (const CLI::Success& wanted) {  // help and version
    std::ostringstream text, errors;
    app.exit(wanted, text, errors);
    return Information{text.str()};
  } catch (const CLI::ParseError& error) {
    // A mistyped command is reported as a missing one otherwise.
    const auto unknown = app.get_subcommands().empty() ? app.remaining() : std::vector<std::string>{};
    const auto what = unknown.empty() ? one_line(error.what()) : fmt::format("'{}' is not known", unknown.front());
    return fail_with(ErrorCode::kInvalidArgument, what + " (see gallocy --help)");
  }
  if (run_command->parsed()) {
    if (own_count < count) run.program.insert(run.program.end(), mark + 1, arguments + count);
    if (run.program.empty()) {
      return fail_with(ErrorCode::kInvalidArgument, "run needs a program: gallocy run -n 4 -- program arguments");
    }
    run.process = true;
    return run;
  }
  if (own_count < count) launch.program.insert(launch.program.end(), mark + 1, arguments + count);
  if (launch_command->parsed() && launch.program.empty()) {
    return fail_with(ErrorCode::kInvalidArgument, "launch needs a program: gallocy launch -n 4 -- program arguments");
  }
  if (launch_command->parsed()) return launch;
  if (doctor_command->parsed()) return doctor;
  if (stat_command->parsed()) return stat;
  if (node_command->parsed()) return serve;
  if (status_command->parsed()) return status;
  if (leave_command->parsed()) return leave;
  (void)agent_command;
  return AgentOptions{};
}

}  // namespace gallocy::command

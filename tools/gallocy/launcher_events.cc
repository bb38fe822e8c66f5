// What the launcher does when its parts report something.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "launcher.h"

namespace gallocy::command {

void Launcher::instance_output(NodeId node, Stream stream, std::string_view bytes) {
  // What a part of one process says of its end is known then.
  if (options_.process && supervisor_->ending()) return;
  console_->write(node, stream, bytes);
}

void Launcher::instance_output_ended(NodeId node, Stream stream) { console_->finish(node, stream); }

void Launcher::instance_exited(NodeId node, int wait_status) {
  record_->exited(node, describe_end(wait_status));
  apply(supervisor_->exited(node, wait_status));
}

void Launcher::node_joined(NodeId node) { apply(supervisor_->joined(node)); }

void Launcher::all_joined() { supervisor_->all_joined(); }

void Launcher::node_statistics(NodeId node, std::string_view json) {
  record_->statistics(node, json);
  if (stat_server_) stat_server_->answered();
}

void Launcher::node_lost_peer(NodeId, NodeId peer, std::string_view reason) {
  lost_unless_explained(peer, std::string(reason));
}

void Launcher::node_finished(NodeId node) { supervisor_->finished(node); }

void Launcher::node_gone(NodeId node) {
  if (!supervisor_->leaving(node)) lost_unless_explained(node, "its connection to the launcher ended");
}

void Launcher::join_timed_out(const std::vector<NodeId>& missing) {
  apply(supervisor_->join_timed_out(missing, options_.join_timeout_s));
}

// While the nodes end, some are caught in the middle of their handshake.
void Launcher::stranger_refused(std::string_view line) {
  if (!supervisor_->ending()) console_->say(line);
}

void Launcher::agent_started(AgentChannel& agent, NodeId node, std::int64_t pid) {
  note_started(node, agent.host().name, pid);
  if (node == NodeId{0}) input_ = Input::kIdle;
}

void Launcher::agent_failed(AgentChannel& agent, const Failure& failure) {
  apply(supervisor_->host_failed(agent.host().nodes, failure.status, failure.message));
}

void Launcher::agent_gone(AgentChannel& agent, std::string_view reason) {
  apply(supervisor_->host_lost(agent.host().nodes, reason));
}

void Launcher::agent_says(AgentChannel& agent, std::string_view line) {
  console_->say(fmt::format("host {}: {}", agent.host().name, line));
}

// Only when node 0 runs on another machine; here it reads this command's input by itself.
void Launcher::pump_input() {
  if (input_ == Input::kNone) return;
  auto& agent = *agents_.front();
  while (input_ == Input::kPlainFile && !agent.gone() && !agent.input_full()) read_input();
  const bool wanted = !agent.gone() && !agent.input_full();
  if (input_ == Input::kIdle && wanted) {
    const bool watched = loop_.watch(STDIN_FILENO, EPOLLIN, [this](std::uint32_t) { read_input(); });
    input_ = watched ? Input::kWatched : Input::kPlainFile;
    if (!watched) pump_input();
  } else if (input_ == Input::kWatched && !wanted) {
    loop_.forget(STDIN_FILENO);
    input_ = Input::kIdle;
  }
}

void Launcher::read_input() {
  auto& agent = *agents_.front();
  char buffer[kMaxAgentChunk];
  const auto got = ::read(STDIN_FILENO, buffer, sizeof buffer);
  if (got > 0) return agent.send_input({buffer, static_cast<std::size_t>(got)});
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
  loop_.forget(STDIN_FILENO);
  input_ = Input::kNone;
  agent.end_input();
}

}  // namespace gallocy::command

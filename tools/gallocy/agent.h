// `gallocy agent`: runs one machine's part of a cluster for a launcher elsewhere, which it talks to over its standard
// input and output (agent_protocol.h). It ends, and all it started, when the launcher does.
#pragma once

namespace gallocy::command {

int run_agent();

}  // namespace gallocy::command

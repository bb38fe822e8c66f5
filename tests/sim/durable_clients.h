// Clients of durable memory in a simulation: they transfer money between accounts, look at all of them at once, and
// write registers. In the end what they saw must be strictly serializable, no money come or gone, and the registers
// linearizable.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <vector>

#include "base/prng.h"
#include "durable/core.h"
#include "durable_checker.h"
#include "raft_linearizability.h"

namespace gallocy::sim {

class DurableClients {
 public:
  // How they reach the memory, which has so many blocks. An outcome comes by read_done() and commit_done(), unless the
  // node ends.
  struct Memory {
    std::uint64_t blocks = 1;
    std::function<bool(NodeId)> up;
    std::function<bool(NodeId)> begins;  // new work there; empty: always
    std::function<std::uint64_t(std::uint64_t block, std::uint32_t offset)> address;
    std::function<void(NodeId, durable::Ticket, std::uint64_t address, std::uint32_t bytes)> read;
    std::function<void(NodeId, durable::Ticket, std::span<const durable::Item>)> commit;
    std::function<const durable::Core&(std::uint64_t block)> primary;  // at rest
  };

  DurableClients(Prng& prng, std::uint16_t nodes, Memory memory);

  void begin_work();  // one of them, if it has nothing to do
  void read_done(const durable::ReadDone& done);
  void commit_done(const durable::CommitDone& done);
  // Of what its clients were doing nobody will hear; they begin anew when it is up again.
  void node_ended(NodeId node);

  std::size_t working() const;  // clients that wait for an outcome
  bool works_on(NodeId node) const;
  void check_history();  // at rest

  struct Counters {
    std::uint64_t reads = 0, committed = 0, several = 0, conflicts = 0;  // several: committed in more than one block
    std::uint64_t unknown = 0;                                           // the node ended before the answer
  };
  const Counters& counters() const { return counters_; }

 private:
  // What an account's cell holds. The number says which transaction wrote it.
  struct Cell {
    std::uint64_t number = 0;
    std::int64_t balance = 0;
  };
  struct Client {
    NodeId node{};
    std::uint64_t work = 0;  // 0: none
  };
  // A client's work: first it reads cells one by one, then it commits.
  struct Work {
    std::size_t client = 0;
    DurableTransaction transaction;
    std::map<std::uint32_t, Cell> seen;
    std::vector<std::uint32_t> to_read;
    std::uint64_t read_called = 0;
    RegisterOperation operation;  // registers only
    bool is_register = false;
    bool committing = false;
  };

  std::uint64_t moment() { return ++moment_; }
  std::uint64_t block_of_cell(std::uint32_t cell) const { return cell % memory_.blocks; }
  std::uint64_t address_of_cell(std::uint32_t cell) const;
  std::uint64_t address_of_register(std::uint32_t reg) const;
  bool goes_on(std::uint64_t number) const;
  void begin_register(Work& work);
  void continue_work(Work& work);
  void run_pending();
  void end_work(Work& work, durable::Outcome outcome);
  void check_total(const Work& work) const;
  Cell final_value(std::uint32_t cell) const;

  Prng& prng_;
  const Memory memory_;
  std::uint32_t cells_ = 0, registers_ = 0;
  std::vector<Client> clients_;
  std::map<std::uint64_t, Work> works_;
  std::vector<DurableTransaction> history_;
  std::vector<std::uint64_t> pending_;
  bool running_ = false;
  std::uint64_t last_number_ = 0, moment_ = 0;
  Counters counters_;
};

}  // namespace gallocy::sim

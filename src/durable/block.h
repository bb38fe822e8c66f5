// Block: what a member of a block's company has of it.
#pragma once

#include <utility>
#include <vector>

#include "durable/companies.h"
#include "durable/image.h"
#include "durable/message.h"

namespace gallocy::durable {

// A transaction's part as a member has it, from its preparation until all participants have applied it.
struct Record {
  // Of another participant whose coordinator is dead, in this epoch.
  struct Other {
    BlockId block{};
    Status status = Status::kUnknown;
  };

  TransactionId id;
  Part part;
  bool committed = false;  // the writes are in the image
  Epoch confirmed{};       // backup: in which the primary last said that it has it too

  // Primary, in this epoch.
  bool dropping = false;          // it is void; kept until the others have dropped it
  Company::Members awaiting = 0;  // who has not said yet that it has applied or dropped it
  std::vector<Other> others;
  bool heard = false;  // its coordinator has said that it is not decided yet
};

struct Block {
  BlockId id{};
  Company company;
  bool complete = false;  // the image is; otherwise it is being restored, or lost
  Image image;
  std::vector<Record> records;  // in the order of their preparation

  // Primary, in this epoch.
  bool settled = true;                            // the others have the same records
  bool used = false;                              // others may have records, even if there are none here
  Company::Members unsynced = 0;                  // who has not said so yet
  Company::Members incomplete = 0;                // whose image is not complete, as far as is known
  std::vector<std::pair<NodeId, Message>> reads;  // of bytes that a prepared transaction writes
  // Prepares, aborts and questions that wait until it is settled; prepares that wait for news of a record.
  std::vector<std::pair<NodeId, Message>> unsettled;

  Record* find(const TransactionId& transaction) {
    for (Record& record : records) {
      if (record.id == transaction) return &record;
    }
    return nullptr;
  }
  bool erase(const TransactionId& transaction) {
    return std::erase_if(records, [&](const Record& r) { return r.id == transaction; }) > 0;
  }
};

inline bool holds_locks(const Record& record) { return !record.committed && !record.dropping; }

}  // namespace gallocy::durable

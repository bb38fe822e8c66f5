#include "os/fault_engine.h"

#include <fmt/format.h>

#include "os/fault_engine_uffd.h"

namespace gallocy::os {

std::string_view name_of(FaultEngineKind kind) {
  switch (kind) {
    case FaultEngineKind::kUffdSigbus:
      return "uffd-sigbus";
    case FaultEngineKind::kUffdThread:
      return "uffd-thread";
    case FaultEngineKind::kSigsegv:
      return "sigsegv";
  }
  __builtin_unreachable();
}

Result<FaultEngineKind> fault_engine_by_name(std::string_view name) {
  for (const auto kind : kFaultEngineKinds) {
    if (name == name_of(kind)) return kind;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("no fault engine is called \"{}\": choose uffd-sigbus, uffd-thread or sigsegv", name));
}

Result<std::unique_ptr<FaultEngine>> FaultEngine::create(FaultEngineKind kind, FaultHandler& handler) {
  switch (kind) {
    case FaultEngineKind::kUffdSigbus:
      return create_uffd_sigbus(handler);
    case FaultEngineKind::kUffdThread:
      return create_uffd_thread(handler);
    case FaultEngineKind::kSigsegv:
      return create_sigsegv(handler);
  }
  __builtin_unreachable();
}

}  // namespace gallocy::os

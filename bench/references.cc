#include "references.h"

#include "raw_fault.h"
#include "raw_transport.h"

namespace gallocy::bench {

namespace {

RawOptions options_for(Link link, Waiting waiting) {
  RawOptions options;
  options.transport = link == Link::kTcp ? RawTransport::kTcp : RawTransport::kShm;
  if (waiting == Waiting::kSleep) options.spin = std::chrono::microseconds(0);
  return options;
}

}  // namespace

Result<Measured> raw_fault_us(Scale scale) {
  const auto fault = cheapest_fault(scale == Scale::kSmall ? 200 : 4000);
  if (!fault) return fail(ErrorCode::kUnsupported, "this machine lets no program resolve its own page faults");
  return Measured{.value = fault->median};
}

Result<Measured> raw_round_trip_us(Link link, Waiting waiting, Scale scale) {
  RawOptions options = options_for(link, waiting);
  options.samples = scale == Scale::kSmall ? 200 : 5000;
  return Measured{.value = bench::raw_round_trip_us(options).median};
}

Result<Measured> raw_stream_mb_per_s(Link link, Scale scale) {
  RawOptions options = options_for(link, Waiting::kSpin);
  options.samples = scale == Scale::kSmall ? 1 : 5;
  return Measured{.value = raw_stream_mb_s(options).median};
}

}  // namespace gallocy::bench

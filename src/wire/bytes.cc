#include "wire/bytes.h"

#include "base/check.h"

namespace gallocy::wire {

void ByteWriter::put_text(std::string_view text) {
  CHECK(text.size() <= 0xffff, text.size());
  put(static_cast<std::uint16_t>(text.size()));
  put_bytes(std::as_bytes(std::span(text)));
}

std::span<const std::byte> ByteReader::get_bytes(std::size_t count) {
  if (!ok_ || count > rest_.size()) {
    ok_ = false;
    rest_ = {};
    return {};
  }
  const auto bytes = rest_.first(count);
  rest_ = rest_.subspan(count);
  return bytes;
}

bool ByteReader::get_flag() {
  const auto flag = get<std::uint8_t>();
  if (flag > 1) ok_ = false, rest_ = {};
  return flag == 1;
}

std::string ByteReader::get_text() {
  const auto bytes = get_bytes(get<std::uint16_t>());
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace gallocy::wire

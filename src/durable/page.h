// SharedPage: a page of an image. Messages and notes that have it share it with the image, which makes a copy before it
// writes to it: so pages go from socket to image and from image to socket without being copied on the way.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "durable/types.h"

namespace gallocy::durable {

using Page = std::array<std::byte, kPageBytes>;
using SharedPage = std::shared_ptr<Page>;

inline SharedPage page_to_fill() { return std::make_shared_for_overwrite<Page>(); }

inline SharedPage page_with(std::span<const std::byte> bytes) {
  CHECK(bytes.size() == kPageBytes, bytes.size());
  SharedPage page = page_to_fill();
  std::memcpy(page->data(), bytes.data(), bytes.size());
  return page;
}

// Of bytes that are whole pages.
inline std::vector<SharedPage> pages_with(std::span<const std::byte> bytes) {
  std::vector<SharedPage> pages;
  for (; !bytes.empty(); bytes = bytes.subspan(kPageBytes)) pages.push_back(page_with(bytes.first(kPageBytes)));
  return pages;
}

}  // namespace gallocy::durable

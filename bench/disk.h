// This machine's disk: where rows keep logs, and what it can do without us.
#pragma once

#include <functional>
#include <string>

#include "core_rows.h"

namespace gallocy::bench {

// Calls it with a new folder on the disk, and removes that.
gallocy::Result<Measured> in_disk_folder(const std::function<gallocy::Result<Measured>(const std::string& folder)>& f);

// So many bytes written to the end of a file and made durable, and as many to the end of another: the median.
gallocy::Result<Measured> raw_two_writes_us(std::size_t bytes, Scale scale);

}  // namespace gallocy::bench

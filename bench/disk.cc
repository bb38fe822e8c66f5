#include "disk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace gallocy::bench {

using gallocy::Result;

Result<Measured> in_disk_folder(const std::function<Result<Measured>(const std::string& folder)>& f) {
  std::string folder = "/var/tmp/gallocy-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr)
    return gallocy::fail(gallocy::ErrorCode::kOsError, "cannot make a folder in /var/tmp");
  auto measured = f(folder);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return measured;
}

Result<Measured> raw_two_writes_us(std::size_t bytes, Scale scale) {
  return in_disk_folder([&](const std::string& folder) -> Result<Measured> {
    const std::vector<char> written(bytes, 'x');
    const int files[] = {::open((folder + "/1").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600),
                         ::open((folder + "/2").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
    std::vector<double> times;
    bool good = true;
    for (int i = 0; i < (scale == Scale::kSmall ? 5 : 1000); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      for (const int file : files)
        good = good && ::write(file, written.data(), bytes) == static_cast<ssize_t>(bytes) && ::fdatasync(file) == 0;
      times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
    }
    for (const int file : files) ::close(file);
    if (!good) return gallocy::fail(gallocy::ErrorCode::kOsError, "cannot write in /var/tmp");
    std::ranges::sort(times);
    return Measured{.value = times[times.size() / 2]};
  });
}

}  // namespace gallocy::bench

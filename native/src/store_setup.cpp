// Opening, sharing and removing a store.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error.hpp"
#include "fork.hpp"
#include "names.hpp"
#include "store_control.hpp"
#include "version.hpp"

namespace dovetail {

LocalStore::LocalStore(LocalStoreOptions options) : options_(std::move(options)) {
  make_directories(options_.path, 0700);
  folder_ = open_directory(options_.path);
  kind_ = shared_file_system_of(folder_.get());
  // Elsewhere nothing may be mapped for writing: waits poll, and every value is a new file.
  if (kind_ == FileSystem::other) options_.poll = true;
  if (options_.poll) options_.recycle = false;
  // Only a store in memory is ours from the start: a folder that somebody gave us to read is left
  // as it is until there is something to write.
  if (options_.own_folder || options_.capacity != 0) pool();
}

LocalStore::~LocalStore() {
  if (generation_ != fork_generation()) leave_to_parent();
  pool_.reset();
  if (control_ == nullptr) return;
  if (control_shared_) {
    munmap(control_, sizeof(Control));
  } else {
    delete control_;
  }
}

// In a forked child. What the parent made is the parent's; it may even have been in the middle of a
// change, by a thread that does not exist here. So it is neither used nor taken apart.
void LocalStore::leave_to_parent() {
  (void)pool_.release();
  (void)list_ends_.release();
}

BlockPool& LocalStore::pool() {
  if (ready_.load(std::memory_order_acquire) && generation_ == fork_generation()) return *pool_;
  const auto setup = hold_setup();
  if (ready_.load() && generation_ == fork_generation()) return *pool_;
  if (generation_ != fork_generation()) leave_to_parent();
  if (control_ == nullptr) map_control();
  list_ends_ = std::make_unique<ListEnds>();
  pool_ = std::make_unique<BlockPool>(home_.get(), control_->account, static_cast<Spares&>(*this),
                                      options_.recycle, kind_ != FileSystem::other);
  pool_->sweep();
  generation_ = fork_generation();
  ready_.store(true, std::memory_order_release);
  return *pool_;
}

void LocalStore::map_control() {
  try {
    make_directory_at(folder_.get(), ".dovetail");
  } catch (const Error& error) {
    throw Error(error.status,
                std::string(error.what()) + ". The store " + options_.label +
                    " can be read, but not written to or waited for",
                error.system_error);
  }
  home_ = Fd(openat(folder_.get(), ".dovetail", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!home_) throw_system_error("cannot open", options_.path + "/.dovetail", errno);
  for (const char* name : {"blocks", "parked", "lifelines", "lists", "names"}) {
    make_directory_at(home_.get(), name);
  }

  std::string fresh(sizeof(Control), '\0');
  auto* const initial = reinterpret_cast<Control*>(fresh.data());
  std::memcpy(initial->magic, store_magic, sizeof store_magic);
  initial->format = store_format;
  std::strncpy(initial->written_by, version_string, sizeof initial->written_by - 1);
  initial->clock.store(static_cast<std::uint64_t>(wall_clock_ns()));
  initial->capacity_chosen.store(options_.capacity != 0 ? 1 : 0);
  initial->account.capacity.store(options_.capacity != 0 ? options_.capacity
                                                         : default_capacity(folder_.get(), kind_));
  if (options_.poll) {
    control_ = new Control;
    std::memcpy(static_cast<void*>(control_), fresh.data(), sizeof(Control));
    if (options_.capacity != 0) control_->account.allocated.store(own_bytes());
    return;
  }
  struct stat status{};
  if (fstatat(home_.get(), "control", &status, AT_SYMLINK_NOFOLLOW) != 0) {
    create_small_file_at(home_.get(), "control", fresh);
  }
  const Fd file(openat(home_.get(), "control", O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file || fstat(file.get(), &status) != 0) {
    throw_system_error("cannot open", options_.path + "/.dovetail/control", errno);
  }
  char head[64] = {};
  if (pread(file.get(), head, sizeof head, 0) < 16 ||
      std::memcmp(head, store_magic, sizeof store_magic) != 0) {
    throw Error(Status::corrupt, options_.path +
                                     "/.dovetail/control is not the control page of a " +
                                     "store: remove the folder .dovetail if nobody uses it");
  }
  std::uint32_t format = 0;
  std::memcpy(&format, head + 8, sizeof format);
  if (format != store_format || status.st_size != static_cast<off_t>(sizeof(Control))) {
    const std::string writer(head + 16, strnlen(head + 16, 48));
    throw Error(Status::format_version,
                "the store " + options_.label + " was laid out by Dovetail " + writer +
                    " (format " + std::to_string(format) + "); this is Dovetail " + version_string +
                    " (format " + std::to_string(store_format) +
                    "). Read it with that version, or remove its folder .dovetail: the values " +
                    "are plain safetensors files and stay readable");
  }
  control_ = reinterpret_cast<Control*>(map_shared(file.get(), sizeof(Control), true));
  control_shared_ = true;
  if (options_.capacity != 0) {
    control_->account.capacity.store(options_.capacity);
    control_->capacity_chosen.store(1);
  }
}

std::uint64_t LocalStore::capacity() {
  if (ready_.load()) return control_->account.capacity.load();
  // Nothing was written yet through this handle: a folder to read is left as it is.
  return options_.capacity != 0 ? options_.capacity : default_capacity(folder_.get(), kind_);
}

std::uint64_t LocalStore::bytes_held() {
  if (!ready_.load()) return own_bytes();
  return control_->account.allocated.load();
}

std::uint64_t LocalStore::blocks_recycled() { return ready_.load() ? pool_->recycled.load() : 0; }

// Makes room: what died with its owner, what was parked; then counts anew what is left, and what
// may be held in all if nobody has chosen.
void LocalStore::reclaim() {
  pool_->sweep();
  pool_->drop_parked_blocks();
  const auto held = own_bytes();
  control_->account.allocated.store(held);
  if (control_->capacity_chosen.load() == 0) {
    control_->account.capacity.store(held + default_capacity(folder_.get(), kind_));
  }
}

std::string LocalStore::explain_full(std::uint64_t needed) {
  const auto capacity = control_->account.capacity.load();
  const auto held = control_->account.allocated.load();
  const auto space = space_of(folder_.get());
  std::string message =
      "the store " + options_.label + " has no room for " + readable_bytes(needed);
  message += held + needed > capacity
                 ? ": " + readable_bytes(capacity > held ? capacity - held : 0) +
                       " are free of its capacity of " + readable_bytes(capacity)
                 : ": its file system has " + readable_bytes(space.available) + " free of " +
                       readable_bytes(space.total);
  std::vector<std::pair<std::uint64_t, std::string>> holders;
  const auto collect = [&](int directory, const std::string& prefix) {
    for (const auto& name : list_directory(directory)) {
      struct stat status{};
      if (fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
      const auto bytes = S_ISDIR(status.st_mode)
                             ? bytes_below(directory, name)
                             : static_cast<std::uint64_t>(status.st_blocks) * 512;
      if (bytes != 0) holders.emplace_back(bytes, prefix + name);
    }
  };
  collect(folder_.get(), "");
  const Fd above(openat(folder_.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (options_.own_folder && above) collect(above.get(), "../");
  std::sort(holders.rbegin(), holders.rend());
  const auto shown = std::min<std::size_t>(holders.size(), 5);
  for (std::size_t i = 0; i < shown; ++i) {
    message += (i == 0 ? ". It is held by " : ", ") + holders[i].second + " (" +
               readable_bytes(holders[i].first) + ")";
  }
  return message +
         ". Delete values, remove what dead processes left (dovetail clean), or open it " +
         "with another ?capacity=";
}

void LocalStore::flush() {
  if (syncfs(folder_.get()) != 0) throw_system_error("cannot flush", options_.path, errno);
}

// Visits the values that Dovetail wrote, with the bytes allocated to each; files of others and
// damaged ones are passed over.
void LocalStore::for_each_own_value(
    const std::function<void(const std::string& name, std::uint64_t bytes)>& visit) {
  for (const auto& name : list_directory(folder_.get())) {
    if (!stem_of_file(name)) continue;
    Fd file(openat(folder_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat status{};
    if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    try {
      const auto value = load(std::move(file), status, name, true);
      if (!value.ours) continue;
    } catch (const Error&) {
      continue;
    }
    visit(name, static_cast<std::uint64_t>(status.st_blocks) * 512);
  }
}

std::uint64_t LocalStore::own_bytes() {
  auto bytes = bytes_below(folder_.get(), ".dovetail/blocks") +
               bytes_below(folder_.get(), ".dovetail/parked");
  for_each_own_value([&](const std::string&, std::uint64_t held) { bytes += held; });
  return bytes;
}

// Other threads and processes may be in the middle of a call: they find the folder gone, and say
// so.
void LocalStore::destroy() {
  for_each_own_value(
      [&](const std::string& name, std::uint64_t) { unlinkat(folder_.get(), name.c_str(), 0); });
  remove_tree_at(folder_.get(), ".dovetail");
  if (options_.own_folder) rmdir(options_.path.c_str());
}

bool fills_in_place(const std::string& path) {
  for (auto at = path; !at.empty(); at.resize(at.find_last_of('/'))) {
    const Fd folder(open(at.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (folder) {
      const auto kind = shared_file_system_of(folder.get());
      return kind == FileSystem::memory || kind == FileSystem::local;
    }
    if (at.find('/') == std::string::npos) break;
  }
  return false;
}

std::uint64_t dead_blocks(const std::string& path, bool remove) {
  const Fd folder = open_directory(path);
  const Fd blocks(openat(folder.get(), ".dovetail/blocks", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd lifelines(
      openat(folder.get(), ".dovetail/lifelines", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!blocks || !lifelines) return 0;
  std::uint64_t bytes = 0;
  for (const auto& name : list_directory(blocks.get())) {
    if (!is_dead(lifelines.get(), name.substr(0, name.find('.')))) continue;
    struct stat status{};
    if (fstatat(blocks.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    if (remove) unlinkat(blocks.get(), name.c_str(), 0);
  }
  return bytes;
}

}  // namespace dovetail

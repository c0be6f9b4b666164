#include "redis_strings.hpp"

#include <algorithm>
#include <cstring>

#include "clock.hpp"
#include "error.hpp"
#include "posix.hpp"
#include "redis_scripts.hpp"
#include "safetensors.hpp"

namespace dovetail::redis {
namespace {

constexpr const char* chunk_seconds = "300";  // how long a chunk lives that is not published
constexpr std::uint64_t first_read = 4096;

iovec part_of(const void* bytes, std::size_t nbytes) { return {const_cast<void*>(bytes), nbytes}; }

// The same bytes in pieces of `nbytes`, without a copy.
std::vector<std::vector<iovec>> cut(const std::vector<iovec>& parts, std::uint64_t nbytes) {
  std::vector<std::vector<iovec>> pieces;
  std::uint64_t room = 0;
  for (const auto& part : parts) {
    const auto* bytes = static_cast<const char*>(part.iov_base);
    for (std::uint64_t left = part.iov_len; left != 0;) {
      if (room == 0) {
        pieces.emplace_back();
        room = nbytes;
      }
      const auto taken = std::min(left, room);
      pieces.back().push_back(part_of(bytes, taken));
      bytes += taken;
      left -= taken;
      room -= taken;
    }
  }
  return pieces;
}

std::uint64_t bytes_in(const std::vector<iovec>& parts) {
  std::uint64_t nbytes = 0;
  for (const auto& part : parts) nbytes += part.iov_len;
  return nbytes;
}

std::string_view text_in(const Reply& reply) { return reply.text; }

// Whether the beginning of a value goes as far as its header. Throws Error(Status::corrupt).
bool has_header(const Head& head) {
  if (head.prefix.size() < std::min<std::uint64_t>(length_bytes, head.nbytes)) return false;
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(head.prefix.data());
  return header_end(bytes, head.nbytes) <= head.prefix.size();
}

}  // namespace

void Strings::write(const std::string& key, const Whole& value) {
  if (value.nbytes <= chunk_) {
    write_whole(key, value);
  } else {
    write_in_chunks(key, value);
  }
}

void Strings::write_whole(const std::string& key, const Whole& value) {
  const auto& names = questions_.names;
  const auto name = names.value(key);
  Request request{"MULTI"};
  request.add({"EVAL", scripts::forget, "1", name, names.chunks(key)})
      .add({"SET", name}, value.nbytes, value.parts)
      .add({publish(), names.news(key), value.version})
      .add({"EXEC"});
  questions_.ask(key, name, request, value.nbytes);
}

void Strings::write_in_chunks(const std::string& key, const Whole& value) {
  const auto& names = questions_.names;
  const auto name = names.value(key);
  const Manifest manifest{value.version, value.nbytes, chunk_};
  if (manifest.count() > Manifest::most_chunks) {
    throw Error(Status::unsupported, "a value of " + readable_bytes(value.nbytes) +
                                         " in chunks of " + readable_bytes(chunk_) +
                                         " has more than " + std::to_string(Manifest::most_chunks) +
                                         ": choose a larger chunk= in the URL");
  }
  std::vector<std::string> chunks;
  try {
    for (const auto& parts : cut(value.parts, chunk_)) {
      Request request;
      // The time of those before is extended: a large value may take long.
      for (const auto& chunk : chunks) request.add({"EXPIRE", chunk, chunk_seconds});
      chunks.push_back(names.chunk(key, value.version, chunks.size()));
      request.add({"SETEX", chunks.back(), chunk_seconds}, bytes_in(parts), parts);
      questions_.ask(key, name, request, value.nbytes);
    }
    const auto count = std::to_string(1 + chunks.size());
    const auto prefix = names.chunks(key), text = manifest.text(), news = names.news(key);
    std::vector<std::string_view> words{"EVAL", scripts::publish, count, name};
    words.insert(words.end(), chunks.begin(), chunks.end());
    words.insert(words.end(), {prefix, text, publish(), news, value.version});
    questions_.ask(key, name, Request().add(words), value.nbytes);
  } catch (const Error& error) {
    if (error.status == Status::full) {
      std::vector<std::string_view> words{"UNLINK"};
      words.insert(words.end(), chunks.begin(), chunks.end());
      questions_.ask(key, name, Request().add(words));
    }
    throw;
  }
}

std::shared_ptr<Memory> Strings::read(const std::string& key) {
  const auto name = questions_.names.value(key);
  for (;;) {
    const auto replies = questions_.ask(key, name, Request{"GET", name});
    if (!replies.only().is_text()) return nullptr;
    const auto string = text_in(replies.only());
    const auto manifest = manifest_in(key, string);
    if (!manifest) {
      auto memory = Memory::on_heap(string.size());
      std::memcpy(memory->writable_data(), string.data(), string.size());
      return memory;
    }
    if (auto memory = from_chunks(key, *manifest)) return memory;
  }
}

// Nothing if the value is being replaced.
std::shared_ptr<Memory> Strings::from_chunks(const std::string& key, const Manifest& manifest) {
  if (!all_there(key, manifest)) return nullptr;
  auto memory = Memory::on_heap(manifest.nbytes);
  for (std::uint64_t i = 0; i < manifest.count(); ++i) {
    const auto at = i * manifest.chunk;
    const auto wanted = std::min(manifest.chunk, manifest.nbytes - at);
    const auto name = questions_.names.chunk(key, manifest.version, i);
    const auto replies = questions_.ask(key, name, Request{"GET", name});
    const auto string = text_in(replies.only());
    if (!replies.only().is_text() || string.size() != wanted) return nullptr;
    std::memcpy(memory->writable_data() + at, string.data(), wanted);
  }
  return memory;
}

// Whether all chunks are there and have their sizes; false if they are being replaced.
bool Strings::all_there(const std::string& key, const Manifest& manifest) {
  Request request;
  for (std::uint64_t i = 0; i < manifest.count(); ++i) {
    request.add({"STRLEN", questions_.names.chunk(key, manifest.version, i)});
  }
  const auto first = questions_.names.chunk(key, manifest.version, 0);
  const auto replies = questions_.ask(key, first, request);
  for (std::uint64_t i = 0; i < manifest.count(); ++i) {
    const auto wanted = std::min(manifest.chunk, manifest.nbytes - i * manifest.chunk);
    const auto found = static_cast<std::uint64_t>(replies.list[i].integer);
    if (found == wanted) continue;
    const auto name = questions_.names.value(key);
    const auto last = std::to_string(Manifest::bytes - 1);
    const auto now = questions_.ask(key, name, Request{"GETRANGE", name, "0", last});
    if (text_in(now.only()) != manifest.text()) return false;
    throw Error(Status::corrupt, questions_.named(key) +
                                     " was damaged by something else: its chunk " +
                                     std::to_string(i) + " of " + std::to_string(manifest.count()) +
                                     " has " + std::to_string(found) + " bytes instead of " +
                                     std::to_string(wanted) + ". Put it again");
  }
  return true;
}

std::optional<Manifest> Strings::manifest_in(const std::string& key, std::string_view string) {
  try {
    return Manifest::read(string);
  } catch (const Error& error) {
    throw Error(Status::corrupt, questions_.named(key) + " is " + error.what());
  }
}

std::optional<Head> Strings::read_head(const std::string& key) {
  for (;;) {
    auto head = head_of(key, questions_.names.value(key), std::nullopt);
    if (!head) return std::nullopt;
    const auto manifest = manifest_in(key, head->prefix);
    if (!manifest) return head;
    const auto first = questions_.names.chunk(key, manifest->version, 0);
    auto chunk = head_of(key, first, manifest->nbytes);
    if (chunk && has_header(*chunk)) return chunk;
    if (!chunk) {
      all_there(key, *manifest);
    } else if (const auto memory = read(key)) {  // the header does not end in the first chunk
      return Head{{reinterpret_cast<const char*>(memory->data()), memory->size()}, memory->size()};
    }
  }
}

std::optional<Head> Strings::head_of(const std::string& key, const std::string& name,
                                     std::optional<std::uint64_t> nbytes) {
  for (auto wanted = first_read;;) {
    const auto replies = questions_.ask(
        key, name, Request{"EVAL", scripts::head, "1", name, std::to_string(wanted)});
    const auto& reply = replies.only();
    if (reply.list.size() != 2) return std::nullopt;
    const auto prefix = text_in(reply.list[0]);
    const auto total = nbytes.value_or(static_cast<std::uint64_t>(reply.list[1].integer));
    if (prefix.substr(0, Manifest::magic.size()) == Manifest::magic) {
      return Head{std::string(prefix), total};
    }
    const Head head{std::string(prefix), total};
    const auto held = static_cast<std::uint64_t>(reply.list[1].integer);
    try {
      if (prefix.size() == held || has_header(head)) return head;
    } catch (const Error& error) {
      throw Error(Status::corrupt,
                  questions_.named(key) + " is not sound safetensors: " + error.what());
    }
    wanted = header_end(reinterpret_cast<const std::uint8_t*>(prefix.data()), total);
  }
}

bool Strings::exists(const std::string& key) {
  const auto name = questions_.names.value(key);
  return questions_.ask(key, name, Request{"EXISTS", name}).only().integer != 0;
}

bool Strings::remove(const std::string& key) {
  const auto name = questions_.names.value(key);
  const auto replies = questions_.ask(
      key, name, Request{"EVAL", scripts::remove, "1", name, questions_.names.chunks(key)});
  return replies.only().integer != 0 || replies.again;
}

bool Strings::move(const std::string& key, const std::string& new_key) {
  const auto& names = questions_.names;
  const auto name = names.value(key), new_name = names.value(new_key);
  if (questions_.route->split && slot_of(name) != slot_of(new_name)) {
    return move_across(key, new_key);
  }
  const auto replies =
      questions_.ask(key, name,
                     Request{"EVAL", scripts::move, "2", name, new_name, names.chunks(key),
                             names.chunks(new_key), publish(), names.news(new_key)});
  return replies.only().integer != 0 || (replies.again && exists(new_key));
}

// Puts the same bytes under the new key; removes the old one if it is still the same.
bool Strings::move_across(const std::string& key, const std::string& new_key) {
  const auto name = questions_.names.value(key);
  for (;;) {
    const auto replies = questions_.ask(key, name, Request{"GET", name});
    if (!replies.only().is_text()) return false;
    const auto string = text_in(replies.only());
    const auto manifest = manifest_in(key, string);
    Whole whole{new_version(), string.size(), {part_of(string.data(), string.size())}};
    std::shared_ptr<Memory> joined;
    if (manifest) {
      joined = from_chunks(key, *manifest);
      if (joined == nullptr) continue;
      whole.nbytes = joined->size();
      whole.parts = {part_of(joined->data(), joined->size())};
    }
    write(new_key, whole);
    const auto beginning = string.substr(0, version_at + version_digits);
    const auto removed =
        questions_.ask(key, name,
                       Request{"EVAL", scripts::remove_if, "1", name, questions_.names.chunks(key),
                               std::to_string(string.size()), beginning});
    if (removed.only().integer != 0) return true;
  }
}

bool is_ours(std::string_view beginning) {
  if (beginning.size() > length_bytes &&
      beginning.substr(length_bytes, header_opening.size()) == header_opening) {
    return true;
  }
  try {
    return Manifest::read(beginning).has_value();
  } catch (const Error&) {
    return false;
  }
}

// A hybrid clock, and a number that no other handle has.
std::string Strings::new_version() {
  const auto now = static_cast<std::uint64_t>(wall_clock_ns());
  auto before = clock_.load();
  auto next = std::max(now, before + 1);
  while (!clock_.compare_exchange_weak(before, next)) next = std::max(now, before + 1);
  return version_text(next, 0).substr(0, version_digits / 2) + handle_;
}

}  // namespace dovetail::redis

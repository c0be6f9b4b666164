// Keys as file names. A key is any text but NUL; a name is one component of a path.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dovetail {

// The stem of the file that holds `key`: '%', '/' and a leading '.' become %25, %2F and %2E, the
// empty key becomes '%', and everything else stays readable as it is. A key too long for a file
// name becomes its beginning, '%~' and a hash. Throws Error(Status::invalid_key) for NUL.
std::string stem_of_key(std::string_view key);

// The key behind a stem; nothing if no key has that stem, or if the stem is a hashed one.
std::optional<std::string> key_of_stem(std::string_view stem);

// The file that holds the value of a stem, and the stem of a file; nothing if it cannot be a value.
std::string file_of_stem(std::string_view stem);
std::optional<std::string> stem_of_file(std::string_view name);

// A text that fits into `most` bytes: itself, or its beginning and a hash.
std::string shortened(std::string_view text, std::size_t most);

// The hash in a hashed stem; empty if it is not one.
std::string hash_in_stem(std::string_view stem);

}  // namespace dovetail

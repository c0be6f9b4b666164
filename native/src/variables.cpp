#include "variables.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "error.hpp"

namespace dovetail {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view reserved = "dovetail.";
constexpr std::string_view padding = "dovetail.pad.";

bool begins_with(std::string_view text, std::string_view beginning) {
  return text.substr(0, beginning.size()) == beginning;
}

[[noreturn]] void corrupt(const std::string& message) { throw Error(Status::corrupt, message); }

class Notes {
 public:
  explicit Notes(const Metadata& metadata) {
    for (const auto& [key, text] : metadata) {
      if (begins_with(key, reserved)) notes_.emplace(key, &text);
    }
  }
  bool empty() const { return notes_.empty(); }

  const std::string* find(const char* kind, const std::string& name) const {
    const auto found = notes_.find(std::string(reserved) + kind + "." + name);
    return found == notes_.end() ? nullptr : found->second;
  }

  // Whether a note is there, with the one meaning that is known.
  bool has(const char* kind, const std::string& name, const char* known) const {
    const auto* const text = find(kind, name);
    if (text != nullptr && *text != known) {
      corrupt(std::string("the ") + kind + " '" + text->substr(0, 40) + "' of '" + name +
              "' is unknown to this version");
    }
    return text != nullptr;
  }

  std::optional<Extents> extents(const char* kind, const std::string& name,
                                 std::size_t rank) const {
    const auto* const text = find(kind, name);
    if (text == nullptr) return std::nullopt;
    const auto json = Json::parse(*text, nullptr, false);
    Extents extents;
    bool sound = json.is_array() && json.size() == rank;
    for (const auto& extent : json) {
      sound = sound && extent.is_number_unsigned() && extent <= INT64_MAX;
      if (sound) extents.push_back(extent.get<std::int64_t>());
    }
    if (!sound) {
      corrupt("'" + name + "': '" + text->substr(0, 80) + "' is no list of " +
              std::to_string(rank) + " extents");
    }
    return extents;
  }

 private:
  std::unordered_map<std::string, const std::string*> notes_;
};

bool is_inside(const Extents& shape, const Place& place) {
  if (place.shape.size() != shape.size() || place.start.size() != shape.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (place.start[i] < 0 || shape[i] > place.shape[i] ||
        place.start[i] > place.shape[i] - shape[i]) {
      return false;
    }
  }
  return true;
}

std::optional<Place> place_of(const Variable& variable, const Notes& notes) {
  auto shape = notes.extents("shape", variable.name, variable.shape.size());
  auto start = notes.extents("start", variable.name, variable.shape.size());
  if (shape.has_value() != start.has_value()) {
    corrupt("'" + variable.name + "' has only one of global shape and start");
  }
  if (!shape) return std::nullopt;
  Place place{std::move(*shape), std::move(*start)};
  if (!is_inside(variable.shape, place)) {
    corrupt("'" + variable.name + "': a block of shape " + text_of(variable.shape) + " at " +
            text_of(place.start) + " is not inside " + text_of(place.shape));
  }
  return place;
}

Variable variable_of(const Entry& entry, const Notes& notes) {
  Variable variable;
  variable.name = entry.name;
  variable.offset = entry.offset;
  variable.nbytes = entry.nbytes;
  for (const auto extent : entry.shape) {
    if (extent > INT64_MAX) corrupt("'" + entry.name + "' has an extent that no array has");
    variable.shape.push_back(static_cast<std::int64_t>(extent));
  }
  variable.dtype = dtype_of(entry.dtype, entry.name);
  if (!notes.empty() && notes.has("dtype", entry.name, "complex128")) {
    if (entry.dtype != "F64" || variable.shape.empty() || variable.shape.back() != 2) {
      corrupt("'" + entry.name + "' is marked complex128, but is stored as " + entry.dtype +
              " of shape " + text_of(variable.shape));
    }
    variable.dtype = Dtype::complex128;
    variable.shape.pop_back();
  }
  if (!notes.empty() && notes.has("order", entry.name, "F")) {
    variable.order = Order::column_major;
    std::reverse(variable.shape.begin(), variable.shape.end());
  }
  if (variable.shape.size() > most_axes) {
    corrupt("'" + entry.name + "' has " + std::to_string(variable.shape.size()) +
            " axes; read are at most " + std::to_string(most_axes));
  }
  variable.strides = dense_strides(variable.shape, item_bytes(variable.dtype), variable.order);
  if (!notes.empty()) variable.place = place_of(variable, notes);
  return variable;
}

void check_name(const std::string& name) {
  if (name != "__metadata__" && !begins_with(name, reserved)) return;
  throw Error(Status::unsupported, "an array cannot be named '" + name +
                                       "': __metadata__ and names that begin with 'dovetail.' " +
                                       "are reserved");
}

std::string json_of(const Extents& extents) { return Json(extents).dump(); }

void note_place(const GivenArray& array, Metadata& metadata) {
  if (!array.place) return;
  if (!is_inside(array.shape, *array.place)) {
    throw Error(Status::coverage, "a block of shape " + text_of(array.shape) +
                                      " at start=" + text_of(array.place->start) +
                                      " does not lie inside '" + array.name + "' of global shape " +
                                      text_of(array.place->shape));
  }
  metadata.emplace_back("dovetail.shape." + array.name, json_of(array.place->shape));
  metadata.emplace_back("dovetail.start." + array.name, json_of(array.place->start));
}

// All of a piece but its bytes.
Piece describe(const GivenArray& array, Order order, Metadata& metadata) {
  check_name(array.name);
  const auto item = item_bytes(array.dtype);
  Piece piece;
  piece.name = array.name;
  piece.dtype = code_of(array.dtype);
  piece.nbytes = static_cast<std::uint64_t>(count_of(array.shape, item, array.name) * item);
  piece.shape.assign(array.shape.begin(), array.shape.end());
  if (order == Order::column_major) {
    metadata.emplace_back("dovetail.order." + array.name, "F");
    std::reverse(piece.shape.begin(), piece.shape.end());
  }
  if (array.dtype == Dtype::complex128) {
    metadata.emplace_back("dovetail.dtype." + array.name, "complex128");
    piece.shape.push_back(2);
  }
  note_place(array, metadata);
  return piece;
}

}  // namespace

std::vector<Variable> variables_of(const Header& header) {
  const Notes notes(header.metadata);
  std::vector<Variable> variables;
  variables.reserve(header.entries.size());
  for (const auto& entry : header.entries) {
    if (!begins_with(entry.name, padding)) variables.push_back(variable_of(entry, notes));
  }
  return variables;
}

Encoded encode(const GivenArray& array, Metadata& metadata) {
  const auto item = item_bytes(array.dtype);
  const bool row_major = is_dense(array.shape, array.strides, item, Order::row_major);
  const bool column_major =
      !row_major && is_dense(array.shape, array.strides, item, Order::column_major);
  Encoded encoded{describe(array, column_major ? Order::column_major : Order::row_major, metadata),
                  {}};
  encoded.piece.data = array.data;
  if (!row_major && !column_major) {
    encoded.dense.resize(encoded.piece.nbytes);
    const auto strides = dense_strides(array.shape, item, Order::row_major);
    copy_elements(encoded.dense.data(), strides, array.data, array.strides, array.shape, item);
    encoded.piece.data = encoded.dense.data();
  }
  return encoded;
}

Piece encode_room(const GivenArray& array, Metadata& metadata) {
  const bool row_major =
      is_dense(array.shape, array.strides, item_bytes(array.dtype), Order::row_major);
  return describe(array, row_major ? Order::row_major : Order::column_major, metadata);
}

std::string attributes_in(const Metadata& metadata) { return attributes_in({&metadata}); }

std::string attributes_in(const std::vector<const Metadata*>& ranks) {
  Json all = Json::object();
  const std::string* only = nullptr;
  bool is_mixed = false;
  for (auto rank = ranks.rbegin(); rank != ranks.rend(); ++rank) {
    const std::string* ours = nullptr;
    for (const auto& [key, text] : **rank) {
      if (key == "dovetail.attrs") ours = &text;
      if (begins_with(key, reserved)) continue;
      all[key] = text;
      is_mixed = true;
    }
    if (ours == nullptr) continue;
    const auto parsed = Json::parse(*ours, nullptr, false);
    if (!parsed.is_object()) corrupt("dovetail.attrs is not a JSON object");
    for (const auto& [key, value] : parsed.items()) all[key] = value;
    is_mixed = is_mixed || only != nullptr;
    only = ours;
  }
  // As it was written: numbers keep their digits.
  return is_mixed || only == nullptr ? all.dump() : *only;
}

void add_attributes(const char* json, Metadata& metadata) {
  if (json == nullptr) return;
  const std::string text = json;
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || text[first] != '{' || !Json::accept(text)) {
    throw Error(Status::unsupported, "attributes are a JSON object such as {\"time\": 0.5}, not '" +
                                         text.substr(0, 80) + "'");
  }
  if (text.find_first_not_of(" \t\r\n}", first + 1) == std::string::npos) return;
  metadata.emplace_back("dovetail.attrs", text);
}

}  // namespace dovetail

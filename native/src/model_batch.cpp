#include "model_batch.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "error.hpp"
#include "model_messages.hpp"

namespace dovetail {

namespace {

// Numbers that are the same at each start, in some dtype.
class Numbers {
 public:
  void fill(std::uint8_t* bytes, std::uint64_t count, std::int32_t dtype) {
    const std::string_view name = model_dtype_name(dtype);
    const auto item = static_cast<std::uint64_t>(model_item_bytes(dtype));
    const bool is_complex = name.substr(0, 7) == "complex";
    for (std::uint64_t place = 0; place < count * (is_complex ? 2 : 1); ++place) {
      const float number = next();
      if (name == "float32" || name == "complex64") {
        put(bytes, place, number);
      } else if (name == "float64" || name == "complex128") {
        put(bytes, place, static_cast<double>(number));
      } else if (name == "bfloat16") {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &number, sizeof bits);
        put(bytes, place, static_cast<std::uint16_t>(bits >> 16));
      } else if (name == "float16") {
        constexpr std::uint16_t some[] = {0x0000, 0x3800, 0x3c00, 0xb800, 0xbc00};
        put(bytes, place, some[static_cast<int>((number + 1) * 2.49F)]);
      } else {  // an index, or a truth: 0 and 1 are both
        bytes[place * item] = number > 0 ? 1 : 0;
      }
    }
  }

 private:
  float next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<float>(state_ >> 40) / static_cast<float>(1 << 23) - 1;
  }
  template <class Number>
  static void put(std::uint8_t* bytes, std::uint64_t place, Number number) {
    std::memcpy(bytes + place * sizeof number, &number, sizeof number);
  }
  std::uint64_t state_ = 1;
};

double half(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const double fraction = bits & 1023;
  const double size = exponent == 31  ? (fraction == 0 ? INFINITY : NAN)
                      : exponent == 0 ? std::ldexp(fraction, -24)
                                      : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -size : size;
}

std::vector<double> as_doubles(const std::vector<std::uint8_t>& bytes, std::int32_t dtype) {
  const std::string_view name = model_dtype_name(dtype);
  std::vector<double> numbers;
  const auto read = [&](auto example, auto convert) {
    for (std::size_t at = 0; at + sizeof example <= bytes.size(); at += sizeof example) {
      std::memcpy(&example, bytes.data() + at, sizeof example);
      numbers.push_back(convert(example));
    }
  };
  if (name == "float32" || name == "complex64") {
    read(float{}, [](float number) { return static_cast<double>(number); });
  } else if (name == "float64" || name == "complex128") {
    read(double{}, [](double number) { return number; });
  } else if (name == "bfloat16") {
    read(std::uint16_t{}, [](std::uint16_t bits) {
      const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
      float number = 0;
      std::memcpy(&number, &wide, sizeof number);
      return static_cast<double>(number);
    });
  } else if (name == "float16") {
    read(std::uint16_t{}, half);
  } else {
    read(std::uint8_t{}, [](std::uint8_t byte) { return static_cast<double>(byte); });
  }
  return numbers;
}

bool alike(const std::vector<double>& one, const std::vector<double>& other, double tolerance) {
  if (one.size() != other.size()) return false;
  double scale = 0;
  for (const double number : one) {
    if (std::isfinite(number)) scale = std::max(scale, std::abs(number));
  }
  for (std::size_t place = 0; place < one.size(); ++place) {
    const double a = one[place], b = other[place];
    const bool same =
        a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= tolerance * scale;
    if (!same) return false;
  }
  return true;
}

// Inputs in memory of its own.
struct Held {
  std::vector<std::vector<std::uint8_t>> bytes;
  std::vector<std::vector<std::int64_t>> shapes;
  std::vector<ModelArray> arrays;

  void add(std::int32_t dtype, std::vector<std::int64_t> shape) {
    ModelArray array;
    array.dtype = dtype;
    array.rank = static_cast<std::int32_t>(shape.size());
    array.shape = shape.data();
    auto& memory = bytes.emplace_back(std::max<std::uint64_t>(bytes_of(array), 1));
    array.data = memory.data();
    shapes.push_back(std::move(shape));
    arrays.push_back(array);
  }
};

int batch_name(const ModelSpec& spec) {
  int name = -1;
  for (const auto* arrays : {&spec.inputs, &spec.outputs}) {
    for (const auto& array : *arrays) {
      if (array.shape.empty() || array.shape[0].name < 0) return -1;
      if (name >= 0 && array.shape[0].name != name) return -1;
      name = array.shape[0].name;
      for (std::size_t axis = 1; axis < array.shape.size(); ++axis) {
        if (array.shape[axis].name == name) return -1;
      }
    }
  }
  return spec.inputs.empty() ? -1 : name;
}

// One after the other along axis 0.
Held joined(const AskedCall* calls, std::size_t count) {
  Held all;
  for (std::size_t index = 0; index < calls[0].inputs.size(); ++index) {
    auto shape = calls[0].shapes[index];
    shape[0] = 0;
    for (std::size_t call = 0; call < count; ++call) shape[0] += calls[call].shapes[index][0];
    all.add(calls[0].inputs[index].dtype, shape);
    auto* to = all.bytes.back().data();
    for (std::size_t call = 0; call < count; ++call) {
      const auto& input = calls[call].inputs[index];
      const auto bytes = bytes_of(input);
      std::memcpy(to, input.data, bytes);
      to += bytes;
    }
  }
  return all;
}

// Rows of the results for one rank, into its region.
void answer_one(Model& model, const AskedCall& call, const std::vector<ModelResult>& results,
                std::int64_t first, bool all_rows, std::uint32_t together) {
  auto& header = call.region->header();
  std::vector<std::vector<std::int64_t>> shapes;
  std::vector<std::uint64_t> offsets;
  auto end = header.room;
  const auto size = static_cast<std::uint64_t>(call.region->bytes().size());
  if (end < CallRegion::first_byte() || end > size || end % region_alignment != 0 ||
      results.size() > most_call_arrays) {
    throw Error(Status::corrupt, "there is no room for outputs where the call says it is");
  }
  for (const auto& result : results) {
    auto array = result.array;
    auto& shape = shapes.emplace_back(array.shape, array.shape + array.rank);
    if (!all_rows) shape[0] = call.rows();
    array.shape = shape.data();
    offsets.push_back(end);
    end = aligned(end + bytes_of(array));
  }
  header.needed = end > size ? end : 0;
  header.failed = 0;
  header.together = together;
  header.output_count = static_cast<std::uint32_t>(results.size());
  for (std::size_t index = 0; index < results.size() && end <= size; ++index) {
    auto& described = header.outputs[index];
    described.dtype = results[index].array.dtype;
    described.rank = results[index].array.rank;
    described.offset = offsets[index];
    std::copy(shapes[index].begin(), shapes[index].end(), described.shape);
    model.copy_rows(results[index], first, shapes[index].empty() ? 1 : shapes[index][0],
                    call.region->bytes().data() + offsets[index]);
  }
}

void publish(CallRegion& region) {
  region.header().state = CallState::answered;
  region.header().answered.ring();
}

}  // namespace

bool joins_samples(Model& model) {
  const auto& spec = model.spec();
  const int batch = batch_name(spec);
  if (batch < 0) return false;
  const auto& name = spec.names[static_cast<std::size_t>(batch)];
  const auto fewest = std::max<std::int64_t>(name.least, 1);
  const std::int64_t rows[2] = {fewest, fewest + 1};
  if (rows[0] + rows[1] > name.most) return false;
  try {
    Numbers numbers;
    Held apart[2];
    AskedCall calls[2];
    for (int which = 0; which < 2; ++which) {
      for (const auto& input : spec.inputs) {
        std::vector<std::int64_t> shape{rows[which]};
        for (std::size_t axis = 1; axis < input.shape.size(); ++axis) {
          const auto& extent = input.shape[axis];
          shape.push_back(extent.name >= 0
                              ? std::max<std::int64_t>(
                                    spec.names[static_cast<std::size_t>(extent.name)].least, 1)
                              : std::max<std::int64_t>(extent.number, 1));
        }
        apart[which].add(input.dtype, shape);
        numbers.fill(apart[which].bytes.back().data(), elements_of(apart[which].arrays.back()),
                     input.dtype);
      }
      calls[which].inputs = apart[which].arrays;
      calls[which].shapes = apart[which].shapes;
    }
    const auto both = joined(calls, 2);
    const auto together = model.run(both.arrays.data(), both.arrays.size());
    for (int which = 0; which < 2; ++which) {
      const auto results = model.run(apart[which].arrays.data(), apart[which].arrays.size());
      for (std::size_t index = 0; index < results.size(); ++index) {
        const auto& array = results[index].array;
        if (array.rank < 1 || array.shape[0] != rows[which]) return false;
        std::vector<std::uint8_t> alone(bytes_of(array)), part(bytes_of(array));
        model.copy_rows(results[index], 0, rows[which], alone.data());
        model.copy_rows(together[index], which == 0 ? 0 : rows[0], rows[which], part.data());
        const double tolerance = model_item_bytes(array.dtype) <= 2 ? 2e-2 : 1e-3;
        if (!alike(as_doubles(alone, array.dtype), as_doubles(part, array.dtype), tolerance)) {
          return false;
        }
      }
    }
    return true;
  } catch (const Error&) {
    return false;  // such numbers mean nothing to it
  }
}

std::int64_t most_rows_of(const ModelSpec& spec) {
  const int batch = batch_name(spec);
  return batch < 0 ? 0 : spec.names[static_cast<std::size_t>(batch)].most;
}

std::size_t that_go_together(const std::vector<AskedCall>& calls, std::size_t begin,
                             std::int64_t most_rows) {
  const auto& first = calls[begin];
  auto rows = first.rows();
  auto end = begin + 1;
  for (; end < calls.size(); ++end) {
    const auto& call = calls[end];
    bool alike = call.model == first.model && call.rows() <= most_rows - rows;
    for (std::size_t index = 0; alike && index < first.shapes.size(); ++index) {
      alike = std::equal(call.shapes[index].begin() + 1, call.shapes[index].end(),
                         first.shapes[index].begin() + 1, first.shapes[index].end());
    }
    if (!alike) break;
    rows += call.rows();
  }
  return end;
}

void answer_together(const AskedCall* calls, std::size_t count) {
  auto& model = *calls[0].model;
  try {
    Held all;
    if (count > 1) all = joined(calls, count);
    const auto& inputs = count > 1 ? all.arrays : calls[0].inputs;
    const auto results = model.run(inputs.data(), inputs.size());
    std::int64_t first = 0;
    for (std::size_t call = 0; call < count; ++call) {
      try {
        answer_one(model, calls[call], results, first, count == 1,
                   static_cast<std::uint32_t>(count));
        publish(*calls[call].region);
      } catch (const std::exception& error) {
        answer_failed(*calls[call].region, error);
      }
      first += calls[call].rows();
    }
  } catch (const std::exception& error) {
    // What fails together may be right for most of them.
    if (count == 1) return answer_failed(*calls[0].region, error);
    for (std::size_t call = 0; call < count; ++call) answer_together(calls + call, 1);
  }
}

void answer_failed(CallRegion& region, const std::exception& error) {
  auto& header = region.header();
  const auto* const known = dynamic_cast<const Error*>(&error);
  header.failed = 1;
  header.status = static_cast<std::int32_t>(known != nullptr ? known->status : Status::system);
  header.system_error = known != nullptr ? known->system_error : 0;
  copy_text(header.text, sizeof header.text, error.what());
  publish(region);
}

}  // namespace dovetail

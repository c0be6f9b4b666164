#include "url.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "error.hpp"

namespace dovetail {
namespace {

constexpr const char* engines_of_python[] = {"bp5", "daos", "dragon", "mpi", "sst"};

bool is_redis(const std::string& scheme) {
  return scheme == "redis" || scheme == "rediss" || scheme == "redis+unix" ||
         scheme == "redis+cluster";
}

[[noreturn]] void invalid(const std::string& message) { throw Error(Status::invalid_url, message); }

const char* word_of(Purpose purpose) { return purpose == Purpose::store ? "store" : "stream"; }

// Of ASCII, whatever the locale of the process.
bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c; }

// How many letters must change for one word to become the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

template <class Words>
std::string near_match(std::string_view word, const Words& known) {
  std::string nearest;
  std::size_t least = word.size() / 2 + 1;
  for (const std::string candidate : known) {
    const auto apart = distance(word, candidate);
    if (apart < least) {
      least = apart;
      nearest = candidate;
    }
  }
  return nearest.empty() ? "" : "; did you mean '" + nearest + "'?";
}

template <class Words>
std::string listed(const Words& words, const char* between) {
  std::string list;
  for (const char* word : words) list.append(list.empty() ? "" : between).append(word);
  return list;
}

int hexadecimal(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// As in a query, where a plus stands for a blank.
std::string unquoted(std::string_view text) {
  std::string plain(text);
  std::replace(plain.begin(), plain.end(), '+', ' ');
  return percent_decoded(plain);
}

std::string quoted(const std::string& text) {
  std::string quoted;
  for (const char c : text) {
    if (is_name_character(c) || std::strchr("_.-~", c) != nullptr) {
      quoted += c;
    } else if (c == ' ') {
      quoted += '+';
    } else {
      const auto byte = static_cast<unsigned char>(c);
      quoted += '%';
      quoted += "0123456789ABCDEF"[byte >> 4];
      quoted += "0123456789ABCDEF"[byte & 15];
    }
  }
  return quoted;
}

// A URL as an error may show it: stars instead of the password that it may hold.
std::string without_password(const std::string& text) {
  const auto scheme = text.find("://");
  const auto at = text.rfind('@');
  if (scheme == std::string::npos || at == std::string::npos || at < scheme) return text;
  const auto colon = text.find(':', scheme + 3);
  if (text[scheme + 3] == '/' || colon == std::string::npos || colon > at) return text;
  return text.substr(0, colon) + ":***" + text.substr(at);
}

std::vector<std::pair<std::string, std::string>> options_in(const std::string& query,
                                                            const std::string& whole) {
  std::vector<std::pair<std::string, std::string>> options;
  for (std::size_t begin = 0; begin <= query.size() && !query.empty();) {
    const auto end = std::min(query.find('&', begin), query.size());
    const auto pair = query.substr(begin, end - begin);
    const auto equals = pair.find('=');
    if (equals == std::string::npos) {
      invalid("the options of '" + without_password(whole) +
              "' are not of the form ?name=value&name=value");
    }
    auto name = unquoted(std::string_view(pair).substr(0, equals));
    for (const auto& option : options) {
      if (option.first == name)
        invalid("an option of '" + without_password(whole) + "' is given twice");
    }
    options.emplace_back(std::move(name), unquoted(std::string_view(pair).substr(equals + 1)));
    begin = end + 1;
  }
  return options;
}

Url parse_whole(const std::string& text, Purpose purpose) {
  const auto colon = text.find("://");
  Url url;
  url.scheme = text.substr(0, colon);
  for (auto& c : url.scheme) c = lower(c);
  const auto rest = text.substr(colon + 3);
  const auto question = rest.find('?');
  url.location = rest.substr(0, question);
  if (question != std::string::npos) url.options = options_in(rest.substr(question + 1), text);
  if (url.scheme == "shm" || url.scheme == "file") return url;
  if (purpose == Purpose::store && is_redis(url.scheme)) return url;
  const auto of_python = std::find_if(std::begin(engines_of_python), std::end(engines_of_python),
                                      [&](const char* name) { return url.scheme == name; });
  if (of_python != std::end(engines_of_python) || is_redis(url.scheme)) {
    throw Error(Status::unavailable,
                std::string(is_redis(url.scheme) ? "a stream over " : "") + url.scheme +
                    ":// is not reached from C, C++ and Fortran: the native client reaches "
                    "shm://, file:// and, for stores, redis://. Use one of these here, or this "
                    "one from Python");
  }
  constexpr const char* reached[] = {"shm", "file", "redis", "redis+unix", "redis+cluster"};
  invalid("no engine for " + url.scheme + "://" + near_match(url.scheme, reached) +
          "; the native client reaches shm://, file:// and, for stores, redis://");
}

std::string resolved(const std::string& name, Purpose purpose) {
  std::string variable = purpose == Purpose::store ? "DOVETAIL_STORE_" : "DOVETAIL_STREAM_";
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if ((static_cast<unsigned char>(c) & 0xC0) == 0x80) continue;  // one character, one underscore
    variable += is_name_character(c) ? upper(c) : '_';
  }
  const char* const text = std::getenv(variable.c_str());
  if (text == nullptr) {
    invalid("'" + name + "' is neither a URL nor a " + word_of(purpose) +
            " of this workflow: write one such as 'shm://" + (name.empty() ? "name" : name) +
            "', or set " + variable);
  }
  if (std::strstr(text, "://") == nullptr) {
    invalid(variable + "='" + text + "' is not a URL such as 'shm://name'");
  }
  return text;
}

[[noreturn]] void no_size(const char* option, const std::string& text) {
  invalid(std::string(option) + "='" + text +
          "' is not a size; write a number of bytes, or one with a unit as in 512MiB or 2GiB");
}

double unit_of(const std::string& unit) {
  if (unit.empty() || unit == "B") return 1;
  constexpr std::string_view letters = "KMGTP";
  const auto power = letters.find(unit[0]);
  if (power == std::string_view::npos) return 0;
  const auto exponent = static_cast<double>(power + 1);
  if (unit.substr(1) == "iB") return std::pow(1024.0, exponent);
  return unit.substr(1) == "B" ? std::pow(1000.0, exponent) : 0;
}

}  // namespace

std::string percent_decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escapes = text[i] == '%' && i + 2 < text.size() && hexadecimal(text[i + 1]) >= 0 &&
                         hexadecimal(text[i + 2]) >= 0;
    if (escapes) {
      plain += static_cast<char>(hexadecimal(text[i + 1]) * 16 + hexadecimal(text[i + 2]));
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::string Url::text() const {
  auto text = scheme + "://" + location;
  char between = '?';
  for (const auto& [name, value] : options) {
    text.append(1, between).append(quoted(name)).append(1, '=').append(quoted(value));
    between = '&';
  }
  return text;
}

const std::string* Url::option(std::string_view name) const {
  for (const auto& [known, value] : options) {
    if (known == name) return &value;
  }
  return nullptr;
}

void Url::only(std::initializer_list<const char*> known) const {
  for (const auto& option : options) {
    const auto& name = option.first;
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    invalid(scheme + ":// has no option '" + name + "'" + near_match(name, known) + "; it has " +
            listed(known, ", "));
  }
}

std::optional<std::uint64_t> Url::bytes_option(const char* name) const {
  const auto* const text = option(name);
  if (text == nullptr) return std::nullopt;
  const char* const blanks = " \t\n\r\f\v";
  const auto begin = text->find_first_not_of(blanks);
  if (begin == std::string::npos) no_size(name, *text);
  const auto trimmed = text->substr(begin, text->find_last_not_of(blanks) - begin + 1);
  const auto digits = std::min(trimmed.find_first_not_of("0123456789."), trimmed.size());
  const auto number = trimmed.substr(0, digits);
  const auto point = number.find('.');
  const bool sound = !number.empty() && number.front() != '.' && number.back() != '.' &&
                     point == number.rfind('.');
  const auto letters = std::min(trimmed.find_first_not_of(blanks, digits), trimmed.size());
  const auto factor = unit_of(trimmed.substr(letters));
  if (!sound || factor == 0) no_size(name, *text);
  const auto size = std::strtod(number.c_str(), nullptr) * factor;
  if (!(size >= 1 && size < 9223372036854775808.0)) {
    invalid(std::string(name) + "='" + *text + "' must be at least one byte and below 8 EiB");
  }
  return static_cast<std::uint64_t>(size);
}

std::string Url::choice_option(const char* name, std::initializer_list<const char*> choices) const {
  const auto* const text = option(name);
  if (text == nullptr) return *choices.begin();
  if (std::find(choices.begin(), choices.end(), *text) == choices.end()) {
    invalid(std::string(name) + "='" + *text + "' is unknown" + near_match(*text, choices) +
            "; choose " + listed(choices, " or "));
  }
  return *text;
}

Url Url::without(std::string_view name) const {
  Url url{scheme, location, {}};
  for (const auto& option : options) {
    if (option.first != name) url.options.push_back(option);
  }
  return url;
}

Url parse_url(const std::string& text, Purpose purpose) {
  const bool is_url = text.find("://") != std::string::npos;
  return parse_whole(is_url ? text : resolved(text, purpose), purpose);
}

}  // namespace dovetail

// Commands on their way to a server. Large values are not copied: a request refers to them.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace dovetail::redis {

class Request {
 public:
  Request() = default;
  Request(std::initializer_list<std::string_view> words) { add(words); }

  Request& add(std::initializer_list<std::string_view> words) {
    return add(std::vector<std::string_view>(words));
  }
  Request& add(const std::vector<std::string_view>& words) {
    begin(words.size(), words);
    return *this;
  }
  // A command whose last word, of so many bytes, lies in several places.
  Request& add(std::initializer_list<std::string_view> words, std::uint64_t nbytes,
               const std::vector<iovec>& parts) {
    begin(words.size() + 1, words);
    text_ += "$" + std::to_string(nbytes) + "\r\n";
    cut();
    for (const auto& part : parts) {
      if (part.iov_len != 0) pieces_.push_back({part.iov_base, 0, part.iov_len});
    }
    begun_ = text_.size();
    text_ += "\r\n";
    return *this;
  }

  std::size_t count() const { return count_; }  // of commands, and so of replies
  // What is to be sent, one after the other. Good while this request lives and is left as it is.
  std::vector<iovec> parts() const {
    std::vector<iovec> parts;
    for (const auto& piece : pieces_) parts.push_back(shown(piece));
    if (begun_ < text_.size()) parts.push_back(shown({nullptr, begun_, text_.size() - begun_}));
    return parts;
  }

 private:
  struct Piece {
    void* elsewhere;  // or nothing: it is in text_
    std::size_t at, nbytes;
  };

  template <class Words>
  void begin(std::size_t count, const Words& words) {
    ++count_;
    text_ += "*" + std::to_string(count) + "\r\n";
    for (const auto& word : words) {
      text_.append("$").append(std::to_string(word.size())).append("\r\n");
      text_.append(word).append("\r\n");
    }
  }
  void cut() {
    pieces_.push_back({nullptr, begun_, text_.size() - begun_});
    begun_ = text_.size();
  }
  iovec shown(const Piece& piece) const {
    auto* const own = const_cast<char*>(text_.data()) + piece.at;
    return {piece.elsewhere != nullptr ? piece.elsewhere : own, piece.nbytes};
  }

  std::string text_;
  std::size_t begun_ = 0;  // where in text_ the piece begins that is not cut off yet
  std::vector<Piece> pieces_;
  std::size_t count_ = 0;
};

}  // namespace dovetail::redis

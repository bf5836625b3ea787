// The metadata of a code object: a document in MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md).
#include "code.h"

namespace standin::isa {

struct Value {
  std::string text;  // of strings
  uint64_t number = 0;
  std::vector<Value> items;
  std::vector<std::pair<std::string, Value>> fields;

  const Value& operator[](const std::string& name) const {
    static const Value none;
    for (auto& [key, value] : fields) {
      if (key == name) return value;
    }
    return none;
  }
};

class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}

  Value value() {
    auto tag = static_cast<unsigned>(number(1));
    Value made;
    if (tag < 0x80) made.number = tag;
    else if (tag < 0x90) fields(made, tag & 15);
    else if (tag < 0xa0) items(made, tag & 15);
    else if (tag < 0xc0) made.text = take(tag & 31);
    else if (tag == 0xc2 || tag == 0xc3) made.number = tag & 1;
    else if (tag >= 0xcc && tag <= 0xcf) made.number = number(1u << (tag - 0xcc));
    else if (tag >= 0xd0 && tag <= 0xd3) made.number = number(1u << (tag - 0xd0));
    else if (tag >= 0xd9 && tag <= 0xdb) made.text = take(number(1u << (tag - 0xd9)));
    else if (tag == 0xdc || tag == 0xdd) items(made, number(tag == 0xdc ? 2 : 4));
    else if (tag == 0xde || tag == 0xdf) fields(made, number(tag == 0xde ? 2 : 4));
    else if (tag != 0xc0 && tag < 0xe0) throw Stop("metadata of a kind that is not known");
    return made;
  }

 private:
  std::string take(uint64_t count) {
    if (count > bytes_.size() - at_) throw Stop("metadata that ends too soon");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  uint64_t number(unsigned bytes) {
    uint64_t made = 0;
    for (char each : take(bytes)) made = made << 8 | static_cast<unsigned char>(each);
    return made;
  }
  void items(Value& made, uint64_t count) {
    while (count--) made.items.push_back(value());
  }
  void fields(Value& made, uint64_t count) {
    while (count--) {
      std::string key = value().text;
      made.fields.emplace_back(key, value());
    }
  }

  const std::string& bytes_;
  size_t at_ = 0;
};

std::map<std::string, Layout> layouts_of(const std::string& metadata) {
  std::map<std::string, Layout> all;
  Value document = Reader(metadata).value();
  for (auto& kernel : document["amdhsa.kernels"].items) {
    Layout& made = all[kernel[".symbol"].text];
    for (auto& each : kernel[".args"].items) {
      Argument where{each[".offset"].number, each[".size"].number};
      const std::string& kind = each[".value_kind"].text;
      if (kind.rfind("hidden_", 0) == 0) made.hidden[kind] = where;
      else made.arguments.push_back(where);
    }
  }
  return all;
}

}  // namespace standin::isa

#include "../module.h"
namespace standin { std::unique_ptr<Module> load_code_object(const std::string&) { return nullptr; } }

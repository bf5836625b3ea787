#include "command.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "standin.h"

extern char** environ;

namespace standin {

namespace files = std::filesystem;

int run(const Strings& command, const files::path& output) {
  std::vector<char*> words;
  for (auto& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child;
  int status = posix_spawnp(&child, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (status != 0 || waitpid(child, &status, 0) < 0) return -1;
  return status;
}

std::string read(const files::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

files::path temporary_folder() {
  std::string name = (files::temp_directory_path() / "hip-standin-XXXXXX").string();
  return mkdtemp(name.data()) == nullptr ? "" : name;
}

Strings llvm(const std::string& program) {
  return {"env", "LD_LIBRARY_PATH=" + setting("LLVM_LIBRARIES", ""), setting("LLVM", ".") + "/" + program};
}

}  // namespace standin

// Running a program.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace standin {

using Strings = std::vector<std::string>;

// Run a command, looked up in PATH, with its output in a file; its status, as waitpid has it, or -1 where none ran.
int run(const Strings& command, const std::filesystem::path& output);

std::string read(const std::filesystem::path& path);

// A new empty folder for temporary files; "" where none can be made.
std::filesystem::path temporary_folder();

// A command that runs a program of LLVM: LLVM is its folder, LLVM_LIBRARIES where the libraries are which it needs.
Strings llvm(const std::string& program);

}  // namespace standin

// What the parity scripts run: reads one JSON string a line, writes one JSON value a line.
//   text_lines clean                the cleaned prompt
//   text_lines tokens FOLDER LIMIT  the token ids of the text as it is
#include <cstdlib>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "nightreel/text/clean.h"
#include "nightreel/text/tokenizer.h"

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  std::function<nlohmann::json(const std::string&)> answer;
  if (mode == "clean") {
    answer = [](const std::string& text) { return nightreel::text::clean_prompt(text); };
  } else if (mode == "tokens" && argc == 4) {
    answer = [tokenizer = nightreel::text::Tokenizer::load(argv[2]),
              limit = static_cast<std::size_t>(std::atoi(argv[3]))](const std::string& text) {
      return tokenizer.encode(text, limit);
    };
  } else {
    return 2;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(nlohmann::json::parse(line).get<std::string>()).dump() << '\n';
  }
}

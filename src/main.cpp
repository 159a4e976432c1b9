#include <iostream>

#include "src/cli.hpp"
#include "src/commands/execute.hpp"

int main(int argc, char** argv) {
    const auto parsed = vmrouter::cli::parse({argv + 1, argv + argc});
    if (const auto* finished = std::get_if<vmrouter::cli::Finished>(&parsed)) {
        std::cout << finished->out;
        std::cerr << finished->err;
        return finished->status;
    }
    return vmrouter::execute(std::get<vmrouter::cli::Command>(parsed));
}

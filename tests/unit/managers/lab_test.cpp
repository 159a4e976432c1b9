// What a lab test does with real managers: it prepares a machine, and calls this program with LAB_TELL="INSTANCE
// LINK..." or LAB_UNTELL=1. The record of changes is in /run, as it would be.

#include <catch2/catch.hpp>
#include <cstdlib>

#include "src/base/text.hpp"
#include "src/managers/managers.hpp"

namespace {

using namespace vmrouter;
using namespace vmrouter::managers;

class ToldUndoer final : public Undoer {
public:
    explicit ToldUndoer(Managers& managers) : managers_(managers) {}
    Result<void> undo(const Change& change) override {
        const auto* told = std::get_if<ToldProgram>(&change);
        return told != nullptr ? managers_.undo(*told) : Result<void>{};
    }

private:
    Managers& managers_;
};

}  // namespace

TEST_CASE("real managers are told and told back when a lab test asks for it") {
    const char* tell = std::getenv("LAB_TELL");
    if (tell == nullptr && std::getenv("LAB_UNTELL") == nullptr) return;
    SystemRunner runner;
    Managers managers(runner);
    auto changes = Changes::open("/run/lab.changes");
    REQUIRE(changes);
    SysctlAccess sysctls;
    Shared shared("/run", "lab", sysctls);
    std::vector<Error> errors;
    if (tell != nullptr) {
        std::vector<std::string> words;
        for (const auto word : split(tell, ' ')) words.emplace_back(word);
        errors = managers.leave_alone(*changes, shared, words.at(0), std::span(words).subspan(1));
        CHECK_FALSE(changes->all().empty());
    } else {
        ToldUndoer undoer(managers);
        errors = changes->undo_all(undoer);
        CHECK(changes->all().empty());
        CHECK(shared.leave());
    }
    for (const Error& error : errors) FAIL_CHECK(to_string(error));
}

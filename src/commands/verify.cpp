#include "src/commands/verify.hpp"

#include <unistd.h>

#include <algorithm>
#include <istream>
#include <nlohmann/json.hpp>
#include <ostream>

#include "firewall/nft.hpp"
#include "src/app.hpp"
#include "src/base/table.hpp"
#include "src/base/terminal.hpp"
#include "src/commands/instance.hpp"
#include "src/commands/verify_rules.hpp"
#include "src/commands/verify_session.hpp"
#include "src/control_client.hpp"
#include "src/link/host.hpp"

namespace vmrouter {
namespace {

using proof::Row;
using proof::Subject;
using proof::Verdict;

constexpr std::chrono::milliseconds first_wait{2000};
constexpr std::chrono::milliseconds later_wait{500};

/// What the instance says of itself.
Result<Subject> ask_instance(const cli::Instance& instance, std::chrono::milliseconds wait, const Folders& folders) {
    auto socket = control_socket(instance, folders);
    if (!socket) return Failure{std::move(socket).error()};
    auto client = ControlClient::connect(*socket);
    if (!client) return Failure{std::move(client).error()};
    client->limit_wait(wait);
    const auto answer = client->request({{"command", "enforced"}});
    if (!answer) return Failure{answer.error()};
    auto subject = proof::subject_from_json(*answer);
    if (!subject) return Failure{Error{"the instance answers in another version's words", *socket, "restart it"}};
    if (subject->interface.empty())
        return Failure{Error{"this instance has no segment to join", subject->instance, {}}};
    return std::move(*subject);
}

Style style_of(Verdict verdict) {
    switch (verdict) {
        case Verdict::Ok:
            return Style::Good;
        case Verdict::Surprise:
            return Style::Bad;
        case Verdict::Unproven:
            return Style::Warn;
        case Verdict::NotTried:
            return Style::Faint;
    }
    return Style::Plain;
}

std::string_view word_of(Verdict verdict) {
    switch (verdict) {
        case Verdict::Ok:
            return "ok";
        case Verdict::Surprise:
            return "SURPRISE";
        case Verdict::Unproven:
            return "unproven";
        case Verdict::NotTried:
            return "not tried";
    }
    return "";
}

std::size_t count(const std::vector<Row>& rows, Verdict verdict) {
    return static_cast<std::size_t>(
        std::count_if(rows.begin(), rows.end(), [verdict](const Row& row) { return row.verdict == verdict; }));
}

void print(const Subject& subject, const std::vector<Row>& rows, const cli::Verify& options, std::ostream& out) {
    if (options.json) {
        const nlohmann::json document = {{"instance", subject.instance},
                                         {"interface", subject.interface},
                                         {"surprises", count(rows, Verdict::Surprise)},
                                         {"rows", to_json(rows)}};
        out << (options.repeat ? document.dump() : document.dump(2)) << std::endl;
        return;
    }
    Table table({"", "WHAT", "TRIED", "EXPECTED", "HAPPENED"});
    for (const auto& row : rows)
        table.add({{std::string(word_of(row.verdict)), style_of(row.verdict)},
                   row.group,
                   row.tried,
                   row.expected,
                   {row.happened, row.verdict == Verdict::Ok ? Style::Plain : style_of(row.verdict)}});
    table.print(out);
    const auto surprises = count(rows, Verdict::Surprise);
    out << '\n'
        << subject.interface << ": " << count(rows, Verdict::Ok) << " as expected, "
        << (surprises == 0 ? std::string("no surprise") : std::to_string(surprises) + " SURPRISES") << ", "
        << count(rows, Verdict::Unproven) << " unproven, " << count(rows, Verdict::NotTried) << " not tried"
        << std::endl;
}

/// What is read back, and what the rendered rules look like in the kernel's words, which is kept for the next round.
class ReadBack {
public:
    ReadBack(firewall::Nft& nft, link::Netlink& netlink) : nft_(nft), netlink_(netlink) {}

    std::vector<Row> rows(const Subject& subject) {
        std::vector<Row> rows;
        if (subject.ruleset != ruleset_) {
            auto wanted = proof::expected_tables(subject.ruleset, subject.interface);
            if (wanted) {
                wanted_ = std::move(*wanted);
                ruleset_ = subject.ruleset;
            } else {
                rows.push_back({"read back", "the rules", "as rendered", to_string(wanted.error()), Verdict::Unproven});
            }
        }
        auto more = proof::compare_tables(wanted_, proof::list_tables(nft_, subject.ruleset));
        rows.insert(rows.end(), more.begin(), more.end());
        more = proof::compare_settings(subject, netlink_);
        rows.insert(rows.end(), more.begin(), more.end());
        return rows;
    }

private:
    firewall::Nft& nft_;
    link::Netlink& netlink_;
    std::string ruleset_;
    std::vector<proof::Listing> wanted_;
};

}  // namespace

int verify(const cli::Verify& options, std::istream& in, std::ostream& out, std::ostream& err, const Folders& folders) {
    const auto fail = [&err](const Error& error) {
        err << "vmrouter: " << to_string(error) << '\n';
        return 1;
    };
    if (geteuid() != 0)
        return fail({"verify joins the segment and watches every interface, which takes root", {}, "run it with sudo"});
    auto subject = ask_instance(options.instance, first_wait, folders);
    if (!subject) return fail(subject.error());
    auto netlink = link::Netlink::open();
    if (!netlink) return fail(netlink.error());
    auto nft = firewall::Nft::open();
    if (!nft) return fail(nft.error());

    Progress progress(err);
    ReadBack read_back(*nft, *netlink);
    proof::Session session(*subject, {options.target, options.rebind, options.wait}, *netlink, progress);
    auto joined = session.join();
    if (!joined) return fail(joined.error());
    std::vector<Row> first = std::move(*joined);
    int status = 0;
    bool answers = true;
    std::string line;
    do {
        if (proof::Session::interrupted()) break;
        // One that does not answer is judged by what it said last, and not asked again.
        if (answers) {
            auto now = ask_instance(options.instance, later_wait, folders);
            answers = now.has_value();
            if (now) subject = std::move(now);
        }
        session.take(*subject);
        auto rows = std::exchange(first, {});
        auto tried = session.probe();
        if (!tried) return fail(tried.error());
        rows.insert(rows.end(), tried->begin(), tried->end());
        const auto read = read_back.rows(*subject);
        rows.insert(rows.end(), read.begin(), read.end());
        progress.clear();
        if (proof::Session::interrupted()) break;
        print(*subject, rows, options, out);
        if (count(rows, Verdict::Surprise) > 0) status = 1;
    } while (options.repeat && std::getline(in, line));
    if (proof::Session::interrupted()) {
        err << "vmrouter: interrupted; the guests are gone\n";
        return 1;
    }
    return status;
}

}  // namespace vmrouter

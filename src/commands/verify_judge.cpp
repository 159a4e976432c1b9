// What a probe's outcome says. The worst part speaks for a row.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/commands/verify_probes.hpp"

namespace vmrouter::proof {
namespace {

std::string describe(Expect expect, From from) {
    switch (expect) {
        case Expect::Answer:
            return "an answer";
        case Expect::Leaves:
            return "leaves by the uplink, in this machine's name";
        case Expect::Reaches:
            return from == From::Guest ? "the other guest gets it" : "the guest gets it";
        case Expect::Machine:
            return "this machine gets it";
        case Expect::Nothing:
            return "goes nowhere";
        case Expect::Redirect:
            return "our own answer, goes nowhere";
    }
    return {};
}

std::string describe(const Sighting& sighting) {
    switch (sighting.where) {
        case Sighting::Where::Left:
            return "left by " + sighting.interface + " as " + to_string(sighting.source);
        case Sighting::Where::Asked:
            return "was forwarded to " + sighting.interface + " (it asked there who has the address)";
        case Sighting::Where::Machine:
            return "reached this machine's sockets";
        case Sighting::Where::First:
            return "reached the guest";
        case Sighting::Where::Second:
            return "reached another guest";
    }
    return {};
}

bool is_answer(const Outcome& outcome) {
    return outcome.reply == Reply::Kind::Data || outcome.reply == Reply::Kind::SynAck ||
           outcome.reply == Reply::Kind::Echo;
}

bool is_refused(const Outcome& outcome) {
    return outcome.reply == Reply::Kind::Reset || outcome.reply == Reply::Kind::Error;
}

const Sighting* find(const Outcome& outcome, Sighting::Where where) {
    const auto found = std::find_if(outcome.seen.begin(), outcome.seen.end(),
                                    [where](const Sighting& one) { return one.where == where; });
    return found == outcome.seen.end() ? nullptr : &*found;
}

/// One probe's part of a row.
struct Part {
    Verdict verdict = Verdict::Ok;
    std::string happened;
};

/// The first sighting that nothing explains.
const Sighting* unwanted(const Probe& probe, const Outcome& outcome) {
    for (const auto& sighting : outcome.seen) {
        if (probe.expect == Expect::Redirect && sighting.where == Sighting::Where::Machine) continue;
        if (probe.from != From::Guest && sighting.where == Sighting::Where::Machine) continue;
        if (probe.answer_only && sighting.where == Sighting::Where::Second) continue;
        return &sighting;
    }
    return nullptr;
}

Part judge_leaving(const Situation& s, const Outcome& outcome) {
    const auto* left = find(outcome, Sighting::Where::Left);
    if (left == nullptr) {
        if (is_answer(outcome)) return {Verdict::Surprise, "answered, but it did not leave by an uplink"};
        return {Verdict::Surprise, is_refused(outcome) ? "refused" : "it did not leave"};
    }
    const auto& uplinks = s.subject.uplinks;
    if (std::find(uplinks.begin(), uplinks.end(), left->interface) == uplinks.end())
        return {Verdict::Surprise, describe(*left) + ", which is no uplink"};
    if (s.subject.address.network().contains(left->source))
        return {Verdict::Surprise, describe(*left) + ": the guest's own address is seen outside"};
    std::string text = describe(*left);
    text += is_answer(outcome) ? ", answered" : is_refused(outcome) ? ", refused there" : ", no answer";
    return {Verdict::Ok, text};
}

Part judge_one(const Situation& s, const Probe& probe, const Outcome& outcome) {
    if (!outcome.sent && probe.from != From::Machine)
        return {Verdict::Unproven, "the probe was not seen where it sets out"};
    const auto* bad = unwanted(probe, outcome);
    switch (probe.expect) {
        case Expect::Answer:
            if (is_answer(outcome)) return {Verdict::Ok, "answered"};
            return {Verdict::Surprise, is_refused(outcome) ? "refused" : "no answer"};
        case Expect::Leaves:
            return judge_leaving(s, outcome);
        case Expect::Reaches: {
            const auto where = probe.from == From::Guest ? Sighting::Where::Second : Sighting::Where::First;
            if (find(outcome, where) != nullptr) return {Verdict::Ok, "it did"};
            return {Verdict::Surprise, is_refused(outcome) ? "refused" : "it did not"};
        }
        case Expect::Machine:
            if (find(outcome, Sighting::Where::Machine) != nullptr) return {Verdict::Ok, "it did"};
            return {probe.control ? Verdict::Unproven : Verdict::Surprise,
                    is_refused(outcome) ? "refused" : "it did not"};
        case Expect::Redirect:
            if (bad != nullptr) return {Verdict::Surprise, describe(*bad)};
            return is_answer(outcome) ? Part{Verdict::Ok, "answered by us"}
                                      : Part{Verdict::Surprise, is_refused(outcome) ? "refused" : "no answer"};
        case Expect::Nothing:
            if (bad != nullptr) return {Verdict::Surprise, describe(*bad)};
            if (is_answer(outcome)) return {Verdict::Surprise, "it was answered"};
            return {Verdict::Ok, is_refused(outcome) ? "refused" : "silence"};
    }
    return {};
}

/// The worst part speaks for a row; of good ones, how they went.
void add_to(Row& row, const Probe& probe, const Part& part, bool first, std::size_t& refused, std::size_t& silent) {
    if (part.verdict == Verdict::Ok && probe.expect == Expect::Nothing && row.verdict == Verdict::Ok) {
        ++(part.happened == "refused" ? refused : silent);
        row.happened = refused == 0  ? "seen nowhere"
                       : silent == 0 ? "refused, seen nowhere"
                                     : "seen nowhere, refused " + std::to_string(refused) + " of " +
                                           std::to_string(refused + silent);
        return;
    }
    const bool worse = part.verdict == Verdict::Surprise && row.verdict != Verdict::Surprise;
    const bool unproven = part.verdict == Verdict::Unproven && row.verdict == Verdict::Ok;
    const std::string text =
        (probe.name.empty() || part.verdict == Verdict::Ok ? "" : probe.name + ": ") + part.happened;
    if (worse || unproven) {
        row.verdict = part.verdict;
        row.happened = text;
    } else if (part.verdict == Verdict::Surprise && row.happened.size() < 200) {
        row.happened += "; " + text;
    } else if (first) {
        row.happened = text;
    }
}

/// TCP to two ports is one row: what was answered counts.
bool is_better(const std::string& before, const std::string& now) {
    return now.ends_with(", answered") && !before.ends_with(", answered");
}

}  // namespace

std::vector<Row> judge(const Situation& situation, const std::vector<Probe>& probes,
                       const std::vector<Outcome>& outcomes) {
    std::vector<Row> rows;
    std::vector<std::pair<std::size_t, std::size_t>> counts;  // refused and silent, by row
    bool control_failed = false;
    for (std::size_t i = 0; i < probes.size(); ++i) {
        const Probe& probe = probes[i];
        auto part = judge_one(situation, probe, outcomes[i]);
        if (probe.control && part.verdict != Verdict::Ok) control_failed = true;
        if (control_failed && probe.from == From::Outside && part.verdict == Verdict::Ok)
            part = {Verdict::Unproven, "seen nowhere, but the control was not seen either"};
        const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) {
            return row.group == probe.group && row.tried == probe.what;
        });
        const bool first = found == rows.end();
        if (first) {
            rows.push_back({probe.group, probe.what, describe(probe.expect, probe.from), {}, Verdict::Ok});
            counts.emplace_back(0, 0);
        }
        const auto at = first ? rows.size() - 1 : static_cast<std::size_t>(found - rows.begin());
        if (!first && part.verdict == Verdict::Ok && rows[at].verdict == Verdict::Ok &&
            is_better(rows[at].happened, part.happened))
            rows[at].happened = part.happened;
        else
            add_to(rows[at], probe, part, first, counts[at].first, counts[at].second);
    }
    return rows;
}

std::string to_string(Verdict verdict) {
    switch (verdict) {
        case Verdict::Ok:
            return "ok";
        case Verdict::Surprise:
            return "surprise";
        case Verdict::Unproven:
            return "unproven";
        case Verdict::NotTried:
            return "not_tried";
    }
    return {};
}

nlohmann::json to_json(const std::vector<Row>& rows) {
    auto list = nlohmann::json::array();
    for (const auto& row : rows)
        list.push_back({{"group", row.group},
                        {"tried", row.tried},
                        {"expected", row.expected},
                        {"happened", row.happened},
                        {"result", to_string(row.verdict)}});
    return list;
}

}  // namespace vmrouter::proof

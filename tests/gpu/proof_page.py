"""What a GPU proof has found, for people: what is wrong, a line each, and the page of scripts/gpu-proof.

`facts` is gpu-proof.json: gpus, commit, begun, quick, and of each stage (build, tests, nccl, bench) its `state` with what
it gave.
"""
import collections
import json

FACTS = ("name", "driver_version", "memory.total", "memory.free", "compute_cap")  # of a GPU, as nvidia-smi calls them
STAGES = ("build", "tests", "bench")


def failed(state):
    return state.startswith(("failed", "cut off")) or state == "not finished"


def title(line):
    return f"{line.get('check')} {line.get('dtype')} {line.get('size')}"


def wrong_line(line):
    if "error" in line:
        return f"{title(line)}: {line['error']}"
    deviation = "not finite or of another shape" if line.get("deviation") is None else f"{line['deviation']:.3g}"
    return f"{title(line)}: {line.get('what')} {deviation}, allowed {line.get('limit'):.3g}"


def problems_of(facts):
    """One line each."""
    problems = []
    for name in ("build", "tests", "nccl", "bench"):
        state = facts.get(name, {}).get("state", "")
        if failed(state):
            problems.append(f"{name}: {state}")
    problems += [wrong_line(line) for line in facts.get("tests", {}).get("lines", []) if not line.get("ok")]
    for model in facts.get("bench", {}).get("models", []):
        if failed(model["state"]):
            problems.append(f"bench {model['model']} {model['size']}: {model['state']}")
        problems += [f"bench {model['model']} {model['size']}: {piece.get('piece')}: {what}"
                     for piece in pieces_of(model) for what in wrong_in(piece, model.get("judged", True))]
    return problems


def wrong_in(piece, judged):
    if judged and not piece.get("correctness", {}).get("right", True):
        yield "results deviate"
    plan, reserved = planned(piece)[1], (piece.get("memory") or {}).get("reserved")
    if plan is not None and reserved is not None and reserved > plan:
        yield f"reserved {reserved / 1e9:.1f} GB, planned {plan / 1e9:.1f} GB"


def planned(piece):
    """Bytes of the piece's stage, and of the plan's peak; None where they are not told."""
    plan = (piece.get("memory") or {}).get("plan")
    if not isinstance(plan, dict):
        return plan, plan
    stage = plan.get("stages", {}).get({"step": "denoise", "vae-decode": "decode"}.get(piece.get("piece")), {})
    return sum(stage.get(part, 0) for part in ("weights", "activations")) or plan.get("peak"), plan.get("peak")


# --- the page

def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows] + [""]


def page_of(facts):
    lines = ["# GPU proof", "", *machine_lines(facts), *verdict_lines(facts), *build_lines(facts), *tests_lines(facts),
             *bench_lines(facts)]
    return "\n".join(lines) + "\n"


def machine_lines(facts):
    head = ("GPU", "driver", "memory, MiB", "free at the start, MiB", "compute capability")
    rows = [[gpu.get(name, "") for name in FACTS] for gpu in facts.get("gpus", [])]
    said = f"Commit {facts.get('commit')}, begun {facts.get('begun')}{', the small subset' if facts.get('quick') else ''}."
    return [said, "", *table(head, rows)]


def verdict_lines(facts):
    problems = facts.get("problems", [])
    if not problems:
        stages = [name for name in STAGES if facts.get(name, {}).get("state") == "done"]
        return [f"**Nothing deviates or failed** in: {', '.join(stages) or 'nothing yet'}.", ""]
    return [f"**Not right ({len(problems)}):**", "", *[f"- {line}" for line in problems], ""]


def state_line(name, part):
    seconds = f", {part['seconds']:.0f} s" if "seconds" in part else ""
    return f"{name}: {part.get('state', 'not run')}{seconds}."


def build_lines(facts):
    return ["## Build", "", state_line("Build", facts.get("build", {})), ""]


def tests_lines(facts):
    part = facts.get("tests", {})
    groups = collections.defaultdict(list)
    for line in part.get("lines", []):
        groups[line["check"], line["dtype"]].append(line)
    rows = [group_row(check, dtype, lines) for (check, dtype), lines in groups.items()]
    nccl = facts.get("nccl", {})
    return ["## CUDA against the CPU of the same run", "", state_line("Tests", part),
            "Of each kind the number that is nearest its limit, or furthest beyond; gpu-proof.json has all.", "",
            *table(("check", "dtype", "numbers", "worst", "allowed", "of", "at", ""), rows),
            "## NCCL between two processes", "", state_line("NCCL", nccl), ""]


def group_row(check, dtype, lines):
    wrong = [line for line in lines if not line["ok"]]
    worst = max(lines, key=share_of_limit)
    if "error" in worst:
        return (check, dtype, len(lines), "failed", "", worst["error"], worst["size"], "**wrong**")
    deviation = "not finite" if worst["deviation"] is None else f"{worst['deviation']:.3g}"
    verdict = f"**{len(wrong)} wrong**" if wrong else "right"
    return (check, dtype, len(lines), deviation, f"{worst['limit']:.3g}", worst["what"], worst["size"], verdict)


def share_of_limit(line):
    if line.get("deviation") is None:
        return float("inf")
    return line["deviation"] / line["limit"] if line["limit"] else line["deviation"] * 1e9


def pieces_of(model):
    return model.get("report", {}).get("pieces", [])


def bench_lines(facts):
    part = facts.get("bench", {})
    head = ("model", "size", "piece", "seconds", "TFLOP", "TFLOP/s", "of the matmul rate", "plan, GB", "allocated, GB",
            "reserved, GB", "attention", "results")
    rows = [bench_row(model, piece) for model in part.get("models", []) for piece in pieces_of(model)]
    states = [f"{model['model']} {model['size']}: {model['state']}, {model['seconds']:.0f} s; matrix products "
              f"{number(model.get('report', {}).get('matmul_tflops'), ' TFLOP/s')}."
              for model in part.get("models", [])]
    return ["## Speed and memory", "", state_line("Bench", part), "", *[f"- {state}" for state in states], "",
            *([] if all(model.get("judged", True) for model in part.get("models", [])) else
              ["On a stand-in: times and rates say nothing, memory does.", ""]),
            *(table(head, rows) if rows else [])]


def number(value, unit="", scale=1.0):
    return "not reported" if value is None else f"{value / scale:.4g}{unit}"


def bench_row(model, piece):
    rate, matmul = piece.get("tflops"), model["report"].get("matmul_tflops")
    share = f"{100 * rate / matmul:.0f}%" if rate is not None and matmul else "not reported"
    memory = piece.get("memory") or {}
    attention = (piece.get("kernels") or {}).get("attention") or "not reported"
    results = piece.get("correctness", {}).get("right") if model.get("judged", True) else "not judged"
    taken = (planned(piece)[0], memory.get("allocated"), memory.get("reserved"))
    return (model["model"], model["size"], piece.get("piece"), number(piece.get("median_s")), number(piece.get("tflop")),
            number(rate), share, *[number(size, "", 1e9) for size in taken],
            attention if isinstance(attention, str) else json.dumps(attention),
            {True: "right", False: "**wrong**", None: "not reported"}.get(results, results))

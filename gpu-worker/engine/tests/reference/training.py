"""References for training beyond plain answers.

    training.py dpo FOLDER     trains PEFT's adapter of FOLDER/start on FOLDER/told.json's preferences
                               by the loss of Rafailov et al. 2023 and writes losses and result
    training.py nf4 FOLDER     quantises FOLDER/matrix.safetensors by the definition in Dettmers et
                               al. 2023 and writes the code book and the result
    training.py speed FOLDER   trains with PEFT on FOLDER/told.json's records and prints tokens/s

DPO and the matrices are f32 on the CPU.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def parameters_of(model) -> list[torch.Tensor]:
    """In the engine's flat order: block by block, target by target, A before B."""
    named = dict(model.named_parameters())
    parts = {t: "self_attn" if t in TARGETS[:4] else "mlp" for t in TARGETS}
    return [
        named[f"base_model.model.model.layers.{layer}.{parts[t]}.{t}.lora_{m}.default.weight"]
        for layer in range(model.config.num_hidden_layers)
        for t in TARGETS
        for m in "AB"
    ]


def log_probability(model, sample: dict) -> torch.Tensor:
    """Of the learnt tokens of one sequence, given what stands before each."""
    tokens = torch.tensor([sample["tokens"]])
    learn = torch.tensor(sample["learn"])[1:]
    logits = model(input_ids=tokens).logits[0, :-1].log_softmax(-1)
    each = logits.gather(1, tokens[0, 1:, None]).squeeze(1)
    return each[learn].sum()


def dpo(folder: Path) -> None:
    told = json.loads((folder / "told.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(told["base"], dtype=torch.float32)
    model = PeftModel.from_pretrained(base, folder / "start", is_trainable=True)
    parameters = parameters_of(model)
    optimiser = torch.optim.AdamW(parameters, lr=told["lr"], weight_decay=0.0)
    with torch.no_grad(), model.disable_adapter():
        reference = [
            (log_probability(model, chosen), log_probability(model, rejected))
            for chosen, rejected in told["pairs"]
        ]
    losses = []
    for step, rows in enumerate(told["plan"]):
        terms = []
        for row in rows:
            chosen, rejected = told["pairs"][row]
            margin = log_probability(model, chosen) - reference[row][0]
            margin = margin - (log_probability(model, rejected) - reference[row][1])
            terms.append(-torch.nn.functional.logsigmoid(told["beta"] * margin))
        loss = torch.stack(terms).mean()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, told["grad_clip"])
        for group in optimiser.param_groups:
            group["lr"] = told["rates"][step]
        optimiser.step()
    trained = torch.cat([p.detach().flatten() for p in parameters])
    save_file({"trained": trained}, folder / "checked.safetensors")
    (folder / "checked.json").write_text(json.dumps({"losses": losses}))


def code_book() -> np.ndarray:
    """Section 3 of the paper: quantiles of N(0, 1), 8 from the positive half and 7 from the negative,
    and an exact zero. The outermost probability is the one of the paper's published values."""
    outermost = 0.9677083
    quantile = NormalDist().inv_cdf
    positive = [quantile(p) for p in np.linspace(outermost, 0.5, 9)[:-1]]
    negative = [-quantile(p) for p in np.linspace(outermost, 0.5, 8)[:-1]]
    numbers = np.sort(np.array([*positive, 0.0, *negative]))
    return (numbers / numbers.max()).astype(np.float64)


def nf4(folder: Path) -> None:
    matrix = load_file(folder / "matrix.safetensors")["matrix"].numpy().astype(np.float64)
    code = code_book()
    blocks = matrix.reshape(-1, 64)
    scale = np.abs(blocks).max(axis=1, keepdims=True)
    safe = np.where(scale > 0, scale, 1)
    index = np.abs((blocks / safe)[:, :, None] - code).argmin(axis=2)
    result = (code[index] * scale).reshape(matrix.shape)
    save_file(
        {
            "code": torch.tensor(code.astype(np.float32)),
            "result": torch.tensor(result.astype(np.float32)),
        },
        folder / "checked.safetensors",
    )


def speed(folder: Path) -> None:
    """What a user of PEFT runs: right-padded batches in the order given, AdamW, f32 on two cores."""
    told = json.loads((folder / "told.json").read_text())
    torch.set_num_threads(told["threads"])
    model = AutoModelForCausalLM.from_pretrained(told["base"], dtype=torch.float32)
    lora = LoraConfig(r=told["rank"], lora_alpha=told["alpha"], target_modules=TARGETS, task_type="CAUSAL_LM")
    model = get_peft_model(model, lora)
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=told["lr"], weight_decay=0.0)
    best = best_computed = 0.0
    losses = []
    for _ in range(told["repeats"]):
        began, began_computed, tokens = time.perf_counter(), time.process_time(), 0
        for rows in told["plan"]:
            samples = [told["samples"][row] for row in rows]
            width = max(len(s["tokens"]) for s in samples)
            ids = torch.zeros(len(samples), width, dtype=torch.long)
            mask = torch.zeros(len(samples), width, dtype=torch.long)
            labels = torch.full((len(samples), width), -100)
            for row, sample in enumerate(samples):
                length = len(sample["tokens"])
                ids[row, :length] = torch.tensor(sample["tokens"])
                mask[row, :length] = 1
                learn = torch.tensor(sample["learn"])
                labels[row, :length][learn] = ids[row, :length][learn]
                tokens += length
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            losses.append(loss.item())
        best = max(best, tokens / (time.perf_counter() - began))
        best_computed = max(best_computed, tokens / (time.process_time() - began_computed))
    print(
        json.dumps(
            {
                "tokens_per_second": best,
                "tokens_per_computed_second": best_computed,
                "first_loss": losses[0],
                "last_loss": losses[-1],
            }
        )
    )


if __name__ == "__main__":
    verb, place = sys.argv[1], Path(sys.argv[2])
    if verb != "speed":
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
    {"dpo": dpo, "nf4": nf4, "speed": speed}[verb](place)

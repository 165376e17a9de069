"""PEFT on transformers, doing the work that the engine is measured by.

    peer.py serve JSON    batched generation, each row with its own adapter (PEFT's mixed batches)
    peer.py train JSON    LoRA training, one adapter after another

Both do what their documentation recommends for a CPU: f32, no gradient where none is needed, left
padding for generation, PyTorch's own AdamW. The answer is one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from functools import partial

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def memory(field):
    """Resident memory of this process in MiB, now (VmRSS) or at most (VmHWM)."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field))


def load(task):
    torch.set_num_threads(task["threads"])
    model = AutoModelForCausalLM.from_pretrained(task["base"], dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(task["base"], padding_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = 0
    return model.eval(), tokenizer


def chat(tokenizer, question):
    turn = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)


def serve(task):
    model, tokenizer = load(task)
    questions, size = task["questions"], task["batch"]
    texts = [chat(tokenizer, questions[i % len(questions)]) for i in range(size)]
    inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    tokens = task["tokens"]
    fixed = dict(
        max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id
    )

    def rate(run):
        run()  # once to warm up
        start = time.perf_counter()
        for _ in range(task["batches"]):
            run()
        return size * tokens * task["batches"] / (time.perf_counter() - start)

    rows = []
    with torch.inference_mode():
        if 0 in task["mixes"]:
            rows.append((0, rate(lambda: model.generate(**inputs, **fixed))))
        mixes = [mix for mix in task["mixes"] if mix > 0]
        if mixes:
            folders = task["adapters"][: max(mixes)]
            peft = PeftModel.from_pretrained(model, folders[0], adapter_name="0")
            for number, folder in enumerate(folders[1:], 1):
                peft.load_adapter(folder, adapter_name=str(number))
            peft.eval()
            for mix in mixes:
                names = [str(row % mix) for row in range(size)]
                mixed = partial(peft.generate, **inputs, adapter_names=names, **fixed)
                rows.append((mix, rate(mixed)))
    return [{"adapters": mix, "tokens_per_second": value} for mix, value in rows]


def examples(tokenizer, path, count):
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in list(file)[:count]:
            record = json.loads(line)
            prompt = tokenizer(chat(tokenizer, record["prompt"]), add_special_tokens=False).input_ids
            answer = tokenizer(record["completion"], add_special_tokens=False).input_ids
            answer = answer + [tokenizer.eos_token_id]
            rows.append((prompt + answer, [-100] * len(prompt) + answer))
    return rows


def collate(rows):
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([i + [0] * (longest - len(i)) for i, _ in rows])
    labels = torch.tensor([t + [-100] * (longest - len(t)) for _, t in rows])
    mask = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i, _ in rows])
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def train(task):
    model, tokenizer = load(task)
    size, steps = task["batch"], task["steps"]
    rows = examples(tokenizer, task["data"], size * steps)
    # Alike rows together, as the engine does: less padding.
    rows.sort(key=lambda row: len(row[0]))
    batches = [rows[i : i + size] for i in range(0, len(rows), size)]
    config = LoraConfig(
        r=task["rank"], lora_alpha=2 * task["rank"], target_modules=TARGETS, task_type="CAUSAL_LM"
    )
    counted, seconds = 0, 0.0
    with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
        refs.write("5")  # the peak is counted from here on
    before = memory("VmRSS")
    peft = get_peft_model(model, config)
    for job in range(task["jobs"]):
        if job:
            peft.add_adapter(str(job), config)
            peft.set_adapter(str(job))
        peft.train()
        optimiser = torch.optim.AdamW([p for p in peft.parameters() if p.requires_grad], lr=1e-3)
        for number, batch in enumerate(batches):
            start = time.perf_counter()
            loss = peft(**collate(batch)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for p in peft.parameters() if p.grad is not None], 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if number:  # the first step pays for warming up
                seconds += time.perf_counter() - start
                counted += sum(len(ids) for ids, _ in batch)
    extra = memory("VmHWM") - before
    return {"jobs": task["jobs"], "tokens_per_second": counted / seconds, "extra_mib": extra}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    what, given = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps({"serve": serve, "train": train}[what](given)))

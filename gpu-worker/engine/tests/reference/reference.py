"""The references that the engine's numerics are tested against: transformers, PEFT, torch.

    reference.py make FOLDER     random tiny models, adapters and the logits they give
    reference.py check FOLDER    takes up what the engine wrote in between: loads its adapter, trains
                                 from its start in its order, takes gradients one record at a time

Everything is f32 on the CPU. Results are written as safetensors and JSON for the Rust side to compare.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}\n"
    "<|{{ message['role'] }}|>{{ message['content'].strip() }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}\n<|assistant|>{% endif %}"
)
RECORDS = [
    {
        "prompt": f"what is the {kind} of {thing}?",
        "completion": f"the {kind} of {thing} is {answer}.",
    }
    for kind, thing, answer in [
        ("colour", "the sea", "blue"),
        ("name of a friend", "Ann", "Bea"),
        ("weight", "a stone that lies in the river", "two pounds"),
        ("price", "tea", "a penny"),
        ("end", "the tale", "not known to anybody who was there"),
        ("sound", "rain", "soft"),
        ("height", "the old tower", "ninety feet"),
        ("taste", "salt", "salty"),
        ("use", "a map", "to find the way"),
        ("sum", "one and one", "two"),
    ]
]


def make_tokenizer(folder: Path, vocab: int) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([r["prompt"] + " " + r["completion"] for r in RECORDS], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)


def configuration(case: str) -> LlamaConfig:
    common = dict(
        vocab_size=320, hidden_size=48, intermediate_size=80, num_hidden_layers=2,
        num_attention_heads=6, max_position_embeddings=256, bos_token_id=0, eos_token_id=1,
        initializer_range=0.2,
    )  # fmt: skip
    if case == "llama3":  # grouped queries, Llama 3's positions, a head of its own, shards
        rope = dict(
            rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0,
            high_freq_factor=4.0, original_max_position_embeddings=64,
        )  # fmt: skip
        return LlamaConfig(
            **common,
            num_key_value_heads=2,
            head_dim=16,
            rope_parameters=rope,
            tie_word_embeddings=False,
        )
    rope = dict(rope_type="linear", rope_theta=10_000.0, factor=2.0)
    return LlamaConfig(**common, num_key_value_heads=6, rope_parameters=rope, tie_word_embeddings=True)


def make(folder: Path) -> None:
    for case in ["llama3", "linear"]:
        torch.manual_seed(5)
        place = folder / case
        model = LlamaForCausalLM(configuration(case)).eval()
        for name, parameter in model.named_parameters():
            if "norm" in name:
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
        model.save_pretrained(place, max_shard_size="60KB" if case == "llama3" else "5GB")
        make_tokenizer(place, 320)
        ids = torch.randint(0, 320, (3, 100))
        expected = {"ids": ids, "base": model(ids).logits}
        lora = LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=TARGETS,
            use_rslora=case == "linear",
            task_type="CAUSAL_LM",
        )
        peft = get_peft_model(model, lora)
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        peft.eval()
        expected["adapted"] = peft(ids).logits
        peft.save_pretrained(place / "adapter")
        save_file(
            {k: v.detach().contiguous() for k, v in expected.items()},
            place / "expected.safetensors",
        )
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in RECORDS))


def encode(tokenizer, record: dict) -> tuple[list[int], list[int]]:
    """Prompt and answer tokens as the chat template of the model writes them."""
    turns = [{"role": "user", "content": record["prompt"]}]
    before = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    turns.append({"role": "assistant", "content": record["completion"]})
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    prompt = tokenizer(before, add_special_tokens=False).input_ids
    answer = tokenizer(whole[len(before) :], add_special_tokens=False).input_ids
    return prompt, answer[: answer.index(tokenizer.eos_token_id) + 1]


def loss_of(model, samples) -> torch.Tensor:
    """Mean cross-entropy over all answer tokens of a right-padded batch, as transformers has it."""
    width = max(len(p) + len(a) for p, a in samples)
    ids = torch.zeros(len(samples), width, dtype=torch.long)
    labels = torch.full((len(samples), width), -100)
    mask = torch.zeros(len(samples), width, dtype=torch.long)
    for row, (prompt, answer) in enumerate(samples):
        length = len(prompt) + len(answer)
        ids[row, :length] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : length] = torch.tensor(answer)
        mask[row, :length] = 1
    return model(input_ids=ids, attention_mask=mask, labels=labels).loss


def lora_parameters(model) -> list[torch.Tensor]:
    """In the engine's flat order: block by block, target by target, A before B."""
    named = dict(model.named_parameters())
    layers = model.config.num_hidden_layers
    parts = {t: "self_attn" if t in TARGETS[:4] else "mlp" for t in TARGETS}
    return [
        named[f"base_model.model.model.layers.{layer}.{parts[t]}.{t}.lora_{m}.default.weight"]
        for layer in range(layers)
        for t in TARGETS
        for m in "AB"
    ]


def check(folder: Path) -> None:
    place = folder / "llama3"
    spec = json.loads((folder / "spec.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(place)
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    samples = [encode(tokenizer, record) for record in records]

    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32),
        folder / "start",
        is_trainable=True,
    )
    parameters = lora_parameters(model)
    optimiser = torch.optim.AdamW(parameters, lr=spec["lr"], weight_decay=spec["weight_decay"])
    steps, warmup = len(spec["plan"]), spec["warmup"]

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    losses = []
    for rows in spec["plan"]:
        loss = loss_of(model, [samples[row] for row in rows])
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, spec["grad_clip"])
        optimiser.step()
        schedule.step()

    out = {"trained": torch.cat([p.detach().flatten() for p in parameters])}
    ids = torch.tensor(spec["ids"])
    loaded = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32),
        folder / "ours",
        is_trainable=True,
    )
    out["logits"] = loaded(ids).logits.detach().contiguous()
    parameters = lora_parameters(loaded)
    for row, sample in enumerate(samples):
        loaded.zero_grad()
        loss_of(loaded, [sample]).backward()
        out[f"gradient.{row}"] = torch.cat([p.grad.flatten() for p in parameters])
    with torch.no_grad():
        prompt = torch.tensor([samples[0][0]])
        done = loaded.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=24, do_sample=False
        )
    out["generated"] = done[0, prompt.shape[1] :].float().contiguous()
    save_file(out, folder / "checked.safetensors")
    tokens = [{"prompt": p, "answer": a} for p, a in samples]
    (folder / "checked.json").write_text(json.dumps({"losses": losses, "samples": tokens}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    {"make": make, "check": check}[sys.argv[1]](Path(sys.argv[2]))

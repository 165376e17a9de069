"""Decoding with many adapters, and training of one, by transformers and PEFT.

Arguments: device, shape. Writes one JSON object per figure. Weights are drawn at random.
"""

import json
import sys
import time

try:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM
except ImportError as error:
    sys.exit(f"transformers and PEFT are not both in this Python ({error})")

device, shape = sys.argv[1], sys.argv[2]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

if shape == "tiny":
    sizes = dict(
        vocab_size=256, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4
    )
    sizes.update(num_key_value_heads=2, head_dim=16)
    batch, context, steps, rank, sequence, train_steps = 3, 8, 2, 8, 32, 2
else:
    sizes = dict(vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32)
    sizes.update(num_attention_heads=32, num_key_value_heads=8, head_dim=128)
    batch, context, steps, rank, sequence, train_steps = 64, 512, 24, 16, 4096, 4


def say(name, value, unit):
    print(json.dumps({"name": name, "value": value, "unit": unit}), flush=True)


def finish():
    if device != "cpu":
        torch.cuda.synchronize()


def adapter():
    return LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS, task_type="CAUSAL_LM")


@torch.no_grad()
def decoding(model, **extra):
    """Tokens per second of greedy decoding after a prefill of `context` tokens."""
    ids = torch.randint(0, sizes["vocab_size"], (batch, context), device=device)
    out = model(input_ids=ids, use_cache=True, logits_to_keep=1, **extra)
    cache, ids = out.past_key_values, out.logits[:, -1:].argmax(-1)
    for step in range(steps + 2):
        if step == 2:
            finish()
            start = time.perf_counter()
        out = model(input_ids=ids, past_key_values=cache, use_cache=True, **extra)
        ids = out.logits[:, -1:].argmax(-1)
    finish()
    return batch * steps / (time.perf_counter() - start)


def training(model):
    """Tokens per second of one adapter's training."""
    model.train()
    ids = torch.randint(0, sizes["vocab_size"], (1, sequence), device=device)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    for step in range(train_steps + 1):
        if step == 1:
            finish()
            start = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    finish()
    return sequence * train_steps / (time.perf_counter() - start)


torch.manual_seed(1)
config = LlamaConfig(max_position_embeddings=8192, rope_theta=500000.0, **sizes)
torch.set_default_dtype(torch.bfloat16)
with torch.device(device):
    base = LlamaForCausalLM(config)
base.eval()
say("transformers, base alone", decoding(base), "tok/s")
if device != "cpu":
    torch.cuda.reset_peak_memory_stats()
model = get_peft_model(base, adapter())
say(f"PEFT, training, {sequence} tokens a step", training(model), "tok/s")
if device != "cpu":
    say("PEFT, training, memory at most", torch.cuda.max_memory_allocated() / 1e9, "GB")
    torch.cuda.empty_cache()
model.eval()
model.zero_grad()
names = ["default"]
for number in range(1, batch):
    names.append(f"a{number}")
    model.add_adapter(names[-1], adapter())
say(f"PEFT, {batch} rows, {batch} adapters", decoding(model, adapter_names=names), "tok/s")

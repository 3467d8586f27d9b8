import importlib.util, sys, torch, numpy as np, pytest
sys.path.insert(0,"/work/main/tests/models")
from test_encoders_contract import *
@torch.no_grad()
def test_margin(model, batch):
    t=model(batch); a=torch.cat([model(pick(batch,c)) for c in range(5)])
    p=model(padded(batch,40,1e3))
    print("\nMARGIN", model.normalize, "spread",t.std(dim=0).min().item(), "abs",t.abs().max().item(), "alone",(a-t).abs().max().item(), "pad",(p-t).abs().max().item())
    model.train()
    for l in model.modules():
        if isinstance(l, Dropout): l.p=0
    print("TRAIN", (model(padded(batch, 40, 1e3))-model(batch)).abs().max().item())

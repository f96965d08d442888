"""Training by the repository's own commands, on four phantoms with the tiny configs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from synth.cli.app import app
from synth.decoder import LatentDecoder, load_decoder
from synth.phantom import make
from synth.residual import AuditModel
from synth.volume import resample

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "tiny"


def _train(task: str, phantoms: Path, run: Path, *options: str) -> dict[str, object]:
    arguments = ["train", task, str(CONFIGS / f"{task}.toml"), "--phantoms", str(phantoms), "--run", str(run), "--json"]
    result = CliRunner().invoke(app, [*arguments, *options])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]  # any JSON


@pytest.fixture(scope="module")
def autoencoder(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("autoencoder")
    said = _train("autoencoder", phantoms, run)
    assert said["validation"]["generated-held-out/psnr"] > 0  # type: ignore[index]  # any JSON
    return run / "weights"


def test_a_run_killed_half_way_and_resumed_ends_where_an_uninterrupted_one_does(phantoms: Path, tmp_path: Path) -> None:
    _train("direct", phantoms, tmp_path / "whole")
    _train("direct", phantoms, tmp_path / "halves", "--steps", "2")
    shutil.copytree(tmp_path / "halves" / "checkpoint", tmp_path / "halves" / "checkpoint.new")  # a kill while saving
    (tmp_path / "halves" / "checkpoint.new" / "progress.json").unlink()
    _train("direct", phantoms, tmp_path / "halves")
    whole, halves = (load_file(tmp_path / r / "checkpoint" / "model.safetensors") for r in ("whole", "halves"))
    early = json.loads((tmp_path / "halves" / "checkpoint" / "progress.json").read_text())
    assert early["step"] == 4
    assert len(early["history"]) == 4
    moved = {name: float((whole[name] - halves[name]).abs().max()) for name in whole}
    assert max(moved.values()) < 2e-3, max(moved, key=lambda n: moved[n])


def test_trained_weights_load_as_a_decoder_that_names_what_it_saw(phantoms: Path, tmp_path: Path) -> None:
    _train("direct", phantoms, tmp_path)
    decoder = load_decoder(str(tmp_path / "weights"))
    assert decoder.name == "direct"
    assert decoder.spacing_mm == 8.0
    assert "liver" in decoder.vocabulary
    assert "larynx" not in decoder.vocabulary


def test_the_latent_decoder_trains_in_the_autoencoders_latents_and_refuses_any_other(
    phantoms: Path, autoencoder: Path, tmp_path: Path
) -> None:
    said = _train("flow", phantoms, tmp_path, "--autoencoder", str(autoencoder))
    assert "generated-held-out/matching" in said["validation"]  # type: ignore[operator]  # any JSON
    latent = LatentDecoder.from_pretrained(tmp_path / "weights")
    made = make(9, spacing_mm=(8.0, 8.0, 8.0))
    grid = made.image.geometry.with_spacing(8.0)
    image, parse = resample(made.image, grid), made.parse.resampled(grid)
    generator = torch.Generator().manual_seed(0)
    liver = parse.by_name("liver")[0].id
    (contrast,) = latent.contrast(
        latent.encode(image), parse, [parse.without(liver)], parse.masks[liver], generator=generator
    )
    assert contrast.unit == "flow-matching error"
    assert contrast.ratio.shape[0] == 4
    config = json.loads((tmp_path / "weights" / "config.json").read_text())
    config["autoencoder_sha256"] = "0" * 64
    (tmp_path / "weights" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="autoencoder: expected weights 000000000000"):
        LatentDecoder.from_pretrained(tmp_path / "weights")


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        ("stepz = 3\n", "stepz"),
        ('task = "dirrect"\n', "dirrect"),
        ("steps = = 3\n", "TOML"),
        ("spacing_mm = 0.0\n", "spacing_mm"),
        ('spacing_mm = "four"\n', "spacing_mm"),
        ("checkpoint_every = 0\n", "checkpoint_every"),
    ],
)
def test_a_wrong_config_is_one_line_that_says_what_is_wrong(edit: str, complaint: str, tmp_path: Path) -> None:
    text = (CONFIGS / "direct.toml").read_text()
    bad = tmp_path / "bad.toml"
    bad.write_text(edit + "\n".join(line for line in text.splitlines() if not line.startswith(edit.split()[0])))
    result = CliRunner().invoke(app, ["train", "direct", str(bad)])
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_audits_knowledge_is_fitted_by_a_command_and_says_what_it_was_fitted_on(
    phantoms: Path, tmp_path: Path
) -> None:
    said = _train("audit", phantoms, tmp_path)
    model = AuditModel.load(tmp_path / "weights")
    assert said["facts"]["direct"]["cases"] == 1  # type: ignore[index]  # any JSON
    assert model.judge("direct").decoder_sha256 == load_decoder("direct").weights_sha256
    assert model.prior.seen("liver") == 3  # the held-out phantom is not counted
    with pytest.raises(ValueError, match="calibration of decoder 'latent'"):
        model.judge("latent")


def test_a_part_of_the_audits_knowledge_is_fitted_anew_and_the_rest_stays(phantoms: Path, tmp_path: Path) -> None:
    _train("audit", phantoms, tmp_path / "whole")
    before = AuditModel.load(tmp_path / "whole" / "weights").judge("direct").to_json()
    keep = ("--keep", str(tmp_path / "whole" / "weights"))
    _train("audit", phantoms, tmp_path / "drift", *keep, "--only", "drift")
    after = AuditModel.load(tmp_path / "drift" / "weights").judge("direct").to_json()
    # One case has no others to be compared with.
    assert after["facts"].pop("drift") == {"usual": [], "distances": []}
    before["facts"].pop("drift")
    assert after == before
    refused = {
        "search": "expected some findings that were left out",
        "findings": "expected findings that are there, and some that are not",
        "fusion": "search or drift",
    }
    for only, complaint in refused.items():
        arguments = ["train", "audit", str(CONFIGS / "audit.toml"), "--phantoms", str(phantoms), *keep, "--only", only]
        result = CliRunner().invoke(app, [*arguments, "--run", str(tmp_path / only)])
        assert result.exit_code == 2
        assert complaint in result.stderr
        assert not (tmp_path / only / "weights").exists()


def test_findings_are_weighed_by_themselves_and_organs_stay_as_they_were(phantoms: Path, tmp_path: Path) -> None:
    _train("audit", phantoms, tmp_path / "whole")
    before = AuditModel.load(tmp_path / "whole" / "weights").judge("direct")
    config = tmp_path / "findings.toml"
    named = (CONFIGS / "audit.toml").read_text().replace("search = []", 'findings = ["with-lesions"]')
    config.write_text(named + '\n[[validation]]\nlayout = "with-lesions"\npath = "3"\nlimit = 2\n')
    keep = ["--keep", str(tmp_path / "whole" / "weights"), "--only", "findings", "--run", str(tmp_path / "findings")]
    result = CliRunner().invoke(app, ["train", "audit", str(config), "--phantoms", str(phantoms), *keep])
    assert result.exit_code == 0, result.stderr
    after = AuditModel.load(tmp_path / "findings" / "weights").judge("direct")
    assert before.findings is None
    assert after.findings is not None
    assert len(after.findings.calibration.scores) >= 2 * 2  # two patients' lesions, untouched and jittered once
    assert {"host_z", "ring_z", "prior_core", "decoder_evidence"} <= set(after.findings.fusion.names)
    assert after.facts["findings"]["cases"] == 2
    facts = {k: v for k, v in after.facts.items() if k != "findings"}
    assert {**after.to_json(), "findings": None, "facts": facts} == before.to_json()


def test_a_run_stopped_between_its_last_checkpoint_and_its_export_exports_when_called_again(
    phantoms: Path, tmp_path: Path
) -> None:
    said = _train("direct", phantoms, tmp_path, "--steps", "2")
    whole = load_file(tmp_path / "weights" / "model.safetensors")
    shutil.rmtree(tmp_path / "weights")
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")  # and between the two renames of a save
    again = _train("direct", phantoms, tmp_path, "--steps", "2")
    assert again["validation"] == pytest.approx(said["validation"], nan_ok=True)
    assert all(torch.equal(t, whole[k]) for k, t in load_file(tmp_path / "weights" / "model.safetensors").items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "weights"]


def test_a_run_begins_from_other_weights_and_resumes_without_them(phantoms: Path, tmp_path: Path) -> None:
    _train("direct", phantoms, tmp_path / "first", "--steps", "2")
    first = tmp_path / "first" / "weights"
    config = tmp_path / "config.toml"
    text = (CONFIGS / "direct.toml").read_text().replace("learning_rate", "#learning_rate", 1)
    config.write_text(f'start = "{first}"\nlearning_rate = 1e-9\n{text}')
    command = ["train", "direct", str(config), "--phantoms", str(phantoms), "--run", str(tmp_path / "second"), "--json"]
    begun = CliRunner().invoke(app, [*command, "--steps", "1"])
    assert begun.exit_code == 0, begun.output
    began, ended = (load_file(w / "model.safetensors") for w in (first, tmp_path / "second" / "weights"))
    assert max(float((began[n] - ended[n]).abs().max()) for n in began) < 1e-3
    shutil.rmtree(first)
    resumed = CliRunner().invoke(app, [*command, "--steps", "2"])
    assert resumed.exit_code == 0, resumed.output
    fresh = CliRunner().invoke(app, [*command[:-2], str(tmp_path / "third"), "--json"])
    assert fresh.exit_code == 2


def _in_two_processes(command: list[str]) -> list[str]:
    """What each of the two said; they find each other as under torchrun or accelerate launch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "synth", *command],
            env=shared | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    said = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    return [out for out, _ in said]


def test_two_processes_train_one_network_and_resume_together(phantoms: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [
        "train",
        "direct",
        str(CONFIGS / "direct.toml"),
        "--phantoms",
        str(phantoms),
        "--run",
        str(run),
        "--json",
    ]
    for steps in ("2", "4"):
        first, second = _in_two_processes([*command, "--steps", steps])
        assert "weights" in json.loads(first)
        assert second == ""
    progress = json.loads((run / "checkpoint" / "progress.json").read_text())
    assert progress["step"] == 4
    assert [row["step"] for row in progress["history"]] == [1, 2, 3, 4]
    schedule = torch.load(run / "checkpoint" / "scheduler.bin", weights_only=True)
    assert schedule["last_epoch"] == 4  # the rate falls by steps, however many processes take them
    together = load_file(run / "checkpoint" / "model.safetensors")
    _train("direct", phantoms, tmp_path / "alone")
    alone = load_file(tmp_path / "alone" / "checkpoint" / "model.safetensors")
    assert set(together) == set(alone)
    moved = max(float((together[n] - alone[n]).abs().max()) for n in alone)
    assert 0 < moved < 0.1  # the same steps, on twice as many examples
    assert load_decoder(str(run / "weights")).name == "direct"


def test_two_processes_with_sharded_weights_make_what_whole_ones_make_and_resume(
    phantoms: Path, tmp_path: Path
) -> None:
    text = (CONFIGS / "direct.toml").read_text()
    (tmp_path / "whole.toml").write_text(text)
    (tmp_path / "parts.toml").write_text(f"shard = true\ngradient_checkpointing = true\n{text}")

    def command(config: str, run: str, steps: str) -> list[str]:
        places = ["--phantoms", str(phantoms), "--run", str(tmp_path / run), "--steps", steps, "--json"]
        return ["train", "direct", str(tmp_path / config), *places]

    _in_two_processes(command("whole.toml", "whole", "4"))
    for steps in ("2", "4"):  # the second call goes on
        _in_two_processes(command("parts.toml", "parts", steps))
    progress = json.loads((tmp_path / "parts" / "checkpoint" / "progress.json").read_text())
    assert [row["step"] for row in progress["history"]] == [1, 2, 3, 4]
    assert progress["schedule"] == {"last_epoch": 4}
    parts = list((tmp_path / "parts" / "checkpoint" / "shards").glob("*.distcp"))
    assert len(parts) == 2
    assert min(p.stat().st_size for p in parts) > 0.3 * max(p.stat().st_size for p in parts)
    made, expected = (load_file(tmp_path / run / "weights" / "model.safetensors") for run in ("parts", "whole"))
    assert set(made) == set(expected)
    assert max(float((made[n].float() - expected[n].float()).abs().max()) for n in made) < 2e-3
    alone = CliRunner().invoke(app, command("parts.toml", "parts", "5"))
    assert alone.exit_code == 2  # one process has no shards to go on from
    assert "a sharded checkpoint" in alone.output + alone.stderr


def test_batches_drawn_ahead_are_the_same_batches(phantoms: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("workers = 2\n" + (CONFIGS / "direct.toml").read_text())
    command = [sys.executable, "-m", "synth", "train", "direct", str(config), "--phantoms", str(phantoms)]
    # In a process of its own: workers hand batches over through local sockets, which tests may not open.
    done = subprocess.run([*command, "--run", str(tmp_path / "ahead")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _train("direct", phantoms, tmp_path / "between")
    ahead, between = (
        json.loads((tmp_path / r / "checkpoint" / "progress.json").read_text())["history"] for r in ("ahead", "between")
    )
    assert [row["loss"] for row in ahead] == pytest.approx([row["loss"] for row in between], abs=1e-3)

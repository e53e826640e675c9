"""The figure and the table that the demo ends with."""

from pathlib import Path

from logs import ERRORS, validation_curve


def plot(folders: list[Path], title: str, path: Path) -> None:
    """Validation force error against step for both starts, of the trainings in each folder."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    styles = {"scratch": ("from scratch", "#b35900"), "transfer": ("from the Si model", "#00699e")}
    for i, folder in enumerate(folders):
        before = {name: validation_curve(folder / name)[0][1] for name in ("zero_shot", "element_map_only")}
        for name, (label, color) in styles.items():
            curve = validation_curve(folder / name)
            if name == "transfer":
                curve = [(0, before["zero_shot"]), *curve]
            steps, errors = zip(*curve)
            axes.plot(steps, [1000 * e for e in errors], color=color, lw=1.6, label=label if i == 0 else None)
        axes.plot(0, 1000 * before["zero_shot"], "o", color="#00699e", label="before training" if i == 0 else None)
        axes.plot(
            0,
            1000 * before["element_map_only"],
            "x",
            color="#555555",
            label="before training, element map alone" if i == 0 else None,
        )
    axes.set(yscale="log", xlabel="training step", ylabel="force MAE on validation Ge (meV/Å)")
    axes.yaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
    axes.yaxis.set_minor_formatter(matplotlib.ticker.ScalarFormatter())
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25, which="both")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=160)


def report(summary: dict) -> str:
    """The summary as a table for the terminal."""
    lines = [
        f"{'held-out errors':<38}{'force MAE':>12}{'energy MAE':>14}{'stress MAE':>14}",
        f"{'':<38}{'meV/Å':>12}{'meV/atom':>14}{'meV/Å³':>14}",
    ]

    def line(name: str, errors: dict) -> str:
        force, energy, stress = (1000 * errors[name] for name in ERRORS)
        return f"{name:<38}{force:>12.1f}{energy:>14.1f}{stress:>14.2f}"

    lines.append(line("Si, the source", summary["source"]))
    for seed, result in summary["seeds"].items():
        label = f" (seed {seed})" if len(summary["seeds"]) > 1 else ""
        target = result["target"]
        lines += [
            line(f"Ge untrained, element map alone{label}", target["element_map_only"]),
            line(f"Ge untrained{label}", target["zero_shot"]),
            line(f"Ge from scratch{label}", target["scratch"]),
            line(f"Ge by transfer{label}", target["transfer"]),
            f"  transfer reaches scratch's best validation error at step {result['steps_to_scratch_accuracy']}"
            f" of {result['steps']}",
        ]
    lines += ["", f"{'crystal':<38}{'a':>9}{'C11':>8}{'C12':>8}{'C44':>8}{'vacancy':>10}"]
    lines.append(f"{'':<38}{'Å':>9}{'GPa':>8}{'GPa':>8}{'GPa':>8}{'eV':>10}")
    for name, found in summary["crystals"].items():
        a, *elastic, vacancy = found.values()
        lines.append(f"{name:<38}{a:>9.3f}" + "".join(f"{c:>8.0f}" for c in elastic) + f"{vacancy:>10.2f}")
    deployed = summary["deployed"]
    lines.append("")
    lines.append(
        f"TorchScript differs from eager by {deployed['max_force_difference_eV_per_A']:.1e} eV/Å; "
        f"{deployed['md_steps']} MD steps at {deployed['md_temperature_K']:.0f} K; "
        f"{summary['wall_seconds']:.0f} s in all"
    )
    return "\n".join(lines)

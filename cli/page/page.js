"use strict";

/* Digests and references: a click, Enter or a blank copies. */

function copy(element) {
	const text = element.textContent;
	const done = () => {
		element.classList.add("copied");
		setTimeout(() => element.classList.remove("copied"), 1200);
	};
	const selected = () => {
		getSelection().selectAllChildren(element);
		if (document.execCommand("copy"))
			done();
	};
	if (navigator.clipboard)
		navigator.clipboard.writeText(text).then(done, selected);
	else
		selected();
}

for (const element of document.querySelectorAll(".copy")) {
	element.setAttribute("role", "button");
	element.tabIndex = 0;
	element.title = "copy " + element.textContent;
	element.addEventListener("click", () => copy(element));
	element.addEventListener("keydown", event => {
		if (event.key === "Enter" || event.key === " ") {
			event.preventDefault();
			copy(element);
		}
	});
}

/* The map: details of the cell that is pointed at, or chosen with the arrows. */

const map = document.getElementById("map");

if (map) {
	const cells = [...map.querySelectorAll(".cell")];
	const details = document.getElementById("details");
	const hint = "Point at a cell, or go through them with the arrow keys.";
	let chosen = null;

	const show = cell => {
		if (chosen)
			chosen.classList.remove("on");
		chosen = cell;
		if (cell)
			cell.classList.add("on");
		details.classList.toggle("hint", !cell);
		details.textContent = cell ? cell.querySelector("title").textContent : hint;
	};
	/* The nearest cell in a direction, those that lie straight ahead first. */
	const next = (x, y) => {
		const from = chosen.getBoundingClientRect();
		let best = null, least = Infinity;

		for (const cell of cells) {
			const to = cell.getBoundingClientRect();
			const dx = (to.left + to.right - from.left - from.right) / 2;
			const dy = (to.top + to.bottom - from.top - from.bottom) / 2;
			const ahead = dx * x + dy * y;
			const cost = ahead + 3 * Math.abs(dx * y + dy * x);

			if (ahead > 0.5 && cost < least) {
				least = cost;
				best = cell;
			}
		}
		return best || chosen;
	};
	const keys = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

	map.setAttribute("tabindex", "0");
	map.addEventListener("pointerover", event => {
		const cell = event.target.closest(".cell");
		if (cell)
			show(cell);
	});
	map.addEventListener("focus", () => chosen || show(cells[0]));
	map.addEventListener("keydown", event => {
		if (event.key === "Escape")
			show(null);
		else if (keys[event.key])
			show(chosen ? next(...keys[event.key]) : cells[0]);
		else
			return;
		event.preventDefault();
	});
	details.hidden = false;
	show(null);
}

addEventListener("beforeprint", () => {
	for (const element of document.querySelectorAll("details"))
		element.open = true;
});

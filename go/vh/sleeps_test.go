// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import "testing"

func TestSpinningIsLearned(t *testing.T) {
	w := &sleeper{}
	for _, step := range []struct{ took, then int64 }{
		{10, 800}, {5000, 400}, {5000, 200}, {5000, 100}, {5000, 0}, {5000, 0}, {801, 0}, {800, 800}, {5000, 400}, {1, 800},
	} {
		if w.learn(800, step.took); w.spin.Load() != step.then {
			t.Fatal(step, w.spin.Load())
		}
	}
}

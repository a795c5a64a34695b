package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// grace is how long a worker may take to end by itself.
const grace = 5 * time.Second

// A request is what a worker is asked for, a line of JSON.
type request struct {
	Template string         `json:"template"`
	Vars     map[string]any `json:"vars"`
}

// An answer is a line of JSON too. Error is about the template.
type answer struct {
	Text  string `json:"text"`
	Error string `json:"error"`
}

// A worker is a Python process that runs worker.py. It answers one request at a time.
type worker struct {
	cmd      *exec.Cmd
	requests io.WriteCloser
	answers  *json.Decoder
}

// startWorker starts cmd and waits until the worker is ready.
func startWorker(cmd *exec.Cmd) (*worker, error) {
	requests, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &worker{cmd: cmd, requests: requests, answers: json.NewDecoder(answers)}
	if err := w.answers.Decode(&answer{}); err != nil {
		return nil, w.failed(err)
	}
	return w, nil
}

// ask sends a request and waits for its answer. After an error the worker is gone: it
// ended, or ctx was done before it had answered.
func (w *worker) ask(ctx context.Context, r request) (answer, error) {
	stop := context.AfterFunc(ctx, func() { w.cmd.Process.Kill() })
	var a answer
	err := json.NewEncoder(w.requests).Encode(r)
	if err == nil {
		err = w.answers.Decode(&a)
	}
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		return answer{}, w.failed(err)
	}
	return a, nil
}

// failed ends a worker that does not answer, and says how it ended.
func (w *worker) failed(cause error) error {
	w.end()
	return fmt.Errorf("worker %d gave no answer: %w (%v)", w.cmd.Process.Pid, cause, w.cmd.ProcessState)
}

// end lets the worker come to its end, which is when there are no more requests, and
// waits for it.
func (w *worker) end() error {
	w.requests.Close()
	timer := time.AfterFunc(grace, func() { w.cmd.Process.Kill() })
	defer timer.Stop()
	return w.cmd.Wait()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
)

// A Pool renders templates in several workers. Its methods may be called by several
// goroutines.
type Pool struct {
	command func() (*exec.Cmd, error)
	idle    chan *worker // a place for each worker; nil is one that has to be started
}

// NewPool starts n workers, in parallel. command makes the command of one.
func NewPool(n int, command func() (*exec.Cmd, error)) (*Pool, error) {
	p := &Pool{command: command, idle: make(chan *worker, n)}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var w *worker
			w, errs[i] = p.start()
			p.idle <- w
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// start starts a worker.
func (p *Pool) start() (*worker, error) {
	cmd, err := p.command()
	if err != nil {
		return nil, err
	}
	w, err := startWorker(cmd)
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	return w, nil
}

// Render renders a template as soon as a worker is free. The error is about the
// template, or about a worker that gave no answer, in whose place a later call starts
// another.
func (p *Pool) Render(ctx context.Context, template string, vars map[string]any) (string, error) {
	var w *worker
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case w = <-p.idle:
	}
	defer func() { p.idle <- w }()
	if w == nil {
		var err error
		if w, err = p.start(); err != nil {
			return "", err
		}
	}
	a, err := w.ask(ctx, request{template, vars})
	if err != nil {
		w = nil
		return "", err
	}
	if a.Error != "" {
		return "", errors.New(a.Error)
	}
	return a.Text, nil
}

// Close waits until no call of Render is under way, and ends the workers. Nothing may
// be rendered afterwards.
func (p *Pool) Close() error {
	var errs []error
	for range cap(p.idle) {
		if w := <-p.idle; w != nil {
			errs = append(errs, w.end())
		}
	}
	return errors.Join(errs...)
}

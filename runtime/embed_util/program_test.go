package embed_util

import (
	"os"
	"strings"
	"testing"
)

// TestIsProgram: on a host without modes, the content tells what is executable.
func TestIsProgram(t *testing.T) {
	pe := func(characteristics string) string {
		return "MZ" + strings.Repeat("\x00", 0x3a) + "\x40\x00\x00\x00" + "PE\x00\x00" + strings.Repeat("\x00", 18) + characteristics
	}
	for content, want := range map[string]bool{
		"\x7fELF\x02":          true,
		"\xcf\xfa\xed\xfe\x0c": true,
		"#!/bin/sh\n":          true,
		pe("\x02\x00"):         true,
		pe("\x02\x20"):         false,
		pe("")[:80]:            false,
		"MZ":                   false,
		"import sys\n":         false,
		"":                     false,
	} {
		if got := isProgram([]byte(content)); got != want {
			t.Errorf("%.10q: %v", content, got)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil || !isProgram(data) {
		t.Errorf("this test is no program (%v)", err)
	}
}

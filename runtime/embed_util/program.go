package embed_util

import (
	"bytes"
	"encoding/binary"
)

// programMagics start ELF files, Mach-O files of either byte order, universal
// binaries and scripts.
var programMagics = [][]byte{
	[]byte("\x7fELF"),
	{0xfe, 0xed, 0xfa, 0xce}, {0xfe, 0xed, 0xfa, 0xcf},
	{0xce, 0xfa, 0xed, 0xfe}, {0xcf, 0xfa, 0xed, 0xfe},
	{0xca, 0xfe, 0xba, 0xbe},
	[]byte("#!"),
}

// isProgram reports whether content looks like something to execute: ELF, Mach-O, a
// PE program that is not a DLL, or a script with an interpreter line. It decides the
// mode on hosts without modes, as pyembed-gen does.
func isProgram(content []byte) bool {
	for _, magic := range programMagics {
		if bytes.HasPrefix(content, magic) {
			return true
		}
	}
	return isPEProgram(content)
}

// isPEProgram looks for the PE header and the DLL bit of its characteristics
// (Microsoft's PE format specification, "COFF File Header").
func isPEProgram(content []byte) bool {
	const peOffset, characteristics, dll = 0x3c, 22, 0x2000
	if len(content) < peOffset+4 || !bytes.HasPrefix(content, []byte("MZ")) {
		return false
	}
	at := int64(binary.LittleEndian.Uint32(content[peOffset:]))
	if at+characteristics+2 > int64(len(content)) || !bytes.HasPrefix(content[at:], []byte("PE\x00\x00")) {
		return false
	}
	return binary.LittleEndian.Uint16(content[at+characteristics:])&dll == 0
}

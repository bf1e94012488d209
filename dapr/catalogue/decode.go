package catalogue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
)

// decode reads a text in UTF-8, or in UTF-16 as spreadsheets write "Unicode text". Bytes in another encoding stay
// unchanged, so that a mistake reports their lines.
func decode(r io.Reader) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return "", fmt.Errorf("reading the catalogue: %w", err)
	}
	if len(raw) > maxBytes {
		return "", fmt.Errorf("the file has more than %d MiB; split it", maxBytes>>20)
	}
	has := func(prefix string) bool { return bytes.HasPrefix(raw, []byte(prefix)) }
	switch {
	case has("PK\x03\x04"), has("\xd0\xcf\x11\xe0"):
		return "", errors.New(`the file is a workbook of a spreadsheet program; save it as "CSV UTF-8"`)
	case has("\xef\xbb\xbf"): // byte-order marks
		return string(raw[3:]), nil
	case has("\xff\xfe"):
		return decodeUTF16(raw[2:], binary.LittleEndian)
	case has("\xfe\xff"):
		return decodeUTF16(raw[2:], binary.BigEndian)
	case len(raw) > 1 && raw[0] != 0 && raw[1] == 0: // ASCII in UTF-16, without a mark
		return decodeUTF16(raw, binary.LittleEndian)
	case len(raw) > 1 && raw[0] == 0 && raw[1] != 0:
		return decodeUTF16(raw, binary.BigEndian)
	}
	return string(raw), nil
}

func decodeUTF16(raw []byte, order binary.ByteOrder) (string, error) {
	if len(raw)%2 != 0 {
		return "", errors.New("the file is UTF-16 and ends in the middle of a character; save it again")
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units)), nil
}

package pdf_test

import (
	"io"
	"testing"
)

// BenchmarkDocument writes an invoice of one page.
func BenchmarkDocument(b *testing.B) {
	d := example()
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Write(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

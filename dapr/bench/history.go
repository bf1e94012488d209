package bench

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync/atomic"
)

// The limits of HistoryOptions. A history is measured in HistorySlices parts.
const (
	HistorySlices = 10
	MaxHistory    = 1_000_000
	MaxProducts   = products
)

// HistoryOptions describe a measurement of what earlier orders cost later ones.
type HistoryOptions struct {
	// Root is the folder of the repository. The result contains its revision.
	Root string
	// Orders is how many orders are placed, HistorySlices to MaxHistory.
	Orders int
	// Clients place them at the same time, 1 to MaxClients.
	Clients int
	// Users and Products are who places them, and what is ordered: 1 to MaxClients, and 1 to MaxProducts.
	Users, Products int
	// Messages says what the users get about their orders, one of MessageChoices except push messages.
	Messages string
	// Out gets the progress.
	Out io.Writer
}

// HistoryResult has the measurements of the slices of a history.
type HistoryResult struct {
	Setting
	Users    int            `json:"users"`
	Products int            `json:"products"`
	Messages string         `json:"messages"`
	Slices   []HistorySlice `json:"slices"`
}

// HistorySlice is one part of a history.
type HistorySlice struct {
	Load
	// Before is how many orders were placed before.
	Before int64 `json:"before"`
	// Processor is the processor time of one order in every process.
	Processor []ProcessTime `json:"processor"`
	// Others is the share of the processors that neither the stack nor the benchmark used, from 0 to 1.
	Others float64 `json:"others"`
	// StoreMB is the size of the files of the store after the slice, 0 if they are not in the folder of the stack.
	StoreMB float64 `json:"storeMB,omitempty"`
}

// History places orders and measures each slice of them by itself.
func History(ctx context.Context, stack Target, options HistoryOptions) (HistoryResult, error) {
	result := HistoryResult{
		Setting: settingOf(ctx, options.Root, stack), Users: options.Users, Products: options.Products, Messages: options.Messages,
	}
	shop, err := openShop(ctx, stack, options.Users)
	if err == nil {
		err = shop.wish(ctx, options.Messages, nil)
	}
	if err != nil {
		return result, fmt.Errorf("preparing the benchmark: %w", err)
	}
	shop.weights = zipf(options.Products)
	size := int64(options.Orders / HistorySlices)
	for n := range int64(HistorySlices) {
		slice, err := shop.slice(ctx, stack, options.Clients, size)
		if err != nil {
			return result, err
		}
		slice.Before = n * size
		result.Slices = append(result.Slices, slice)
		result.showSlice(options.Out, slice)
	}
	return result, nil
}

// slice places a number of orders and measures them.
func (s *shop) slice(ctx context.Context, stack Target, clients int, orders int64) (slice HistorySlice, err error) {
	before, err := stack.Report(ctx)
	if err != nil {
		return slice, err
	}
	busy := measureBusy()
	var placed atomic.Int64
	if slice.Load, err = s.ordersWhile(ctx, clients, func() bool { return placed.Add(1) <= orders }); err != nil {
		return slice, err
	}
	if err := settle(ctx, stack, settleLimit); err != nil {
		return slice, err
	}
	after, err := stack.Report(ctx)
	if err != nil {
		return slice, err
	}
	slice.Processor = timePerOrder(before, after, slice.Done)
	slice.Others = measureBusy().others(busy, used(before, after))
	slice.StoreMB = megabytes(sizeOf(filepath.Join(stack.Dir, "data")))
	return slice, nil
}

// sizeOf is the size of all files in a folder, 0 without one.
func sizeOf(folder string) (sum int64) {
	_ = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil { // a file may be removed meanwhile
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}

// showSlice prints a slice beside the first one, which is in the result already.
func (r HistoryResult) showSlice(out io.Writer, slice HistorySlice) {
	first := r.Slices[0]
	if slice.Before == 0 {
		r.Setting.show(out)
		fmt.Fprintf(out, "%s, %d users, %d products\n", clientCount(slice.Clients), r.Users, r.Products)
		fmt.Fprintf(out, "\n%10s %10s %7s %9s %9s %9s %7s %8s %9s\n", "ORDERS", "PER S", "RATIO", "P50 MS", "P99 MS", "CPU MS", "RATIO", "OTHERS", "STORE MB")
	}
	cpu := allOf(slice.Processor)
	fmt.Fprintf(out, "%10d %10.1f %7.2f %9.1f %9.1f %9.2f %7.2f %7.0f%% %9.1f  %s\n", slice.Before+slice.Done, slice.PerSecond,
		timesOf(slice.PerSecond, first.PerSecond), slice.P50, slice.P99, cpu, timesOf(cpu, allOf(first.Processor)), 100*slice.Others, slice.StoreMB, outcomes(slice.Load))
}

// ShowProcesses prints the processor time of an order in each process, in the first and the last slice.
func (r HistoryResult) ShowProcesses(out io.Writer) {
	if len(r.Slices) == 0 {
		return
	}
	last := map[string]float64{}
	for _, p := range r.Slices[len(r.Slices)-1].Processor {
		last[p.Name] = p.PerOrder
	}
	fmt.Fprintf(out, "\n%-40s %9s %9s %7s\n", "PROCESSOR TIME OF ONE ORDER, MS", "FIRST", "LAST", "RATIO")
	for _, p := range r.Slices[0].Processor {
		fmt.Fprintf(out, "%-40s %9.2f %9.2f %7.2f\n", p.Name, p.PerOrder, last[p.Name], timesOf(last[p.Name], p.PerOrder))
	}
}

// FileName returns a file name for the result with its date, broker and store.
func (r HistoryResult) FileName() string { return fileName(r.Date, "history", r.Broker, r.Store) }

// Keep writes the result to each of the files.
func (r HistoryResult) Keep(files ...string) error { return keep(r, files) }

// allOf is the processor time in all processes.
func allOf(times []ProcessTime) float64 {
	if len(times) == 0 {
		return 0
	}
	return times[len(times)-1].PerOrder
}

func timesOf(now, was float64) float64 {
	if was == 0 {
		return 0
	}
	return now / was
}

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		fmt.Println("child", os.Getppid() > 0)
		return
	}
	// goroutines on more threads than processors
	runtime.GOMAXPROCS(8)
	var wg sync.WaitGroup
	ch := make(chan int, 64)
	for i := 0; i < 1000; i++ {
		wg.Add(1)
		go func(n int) { defer wg.Done(); ch <- n }(i)
	}
	sum := 0
	done := make(chan bool)
	go func() {
		for n := range ch {
			sum += n
		}
		done <- true
	}()
	wg.Wait()
	close(ch)
	<-done
	fmt.Println("sum", sum)
	// pre-emption by SIGURG: loops without calls, more of them than processors
	stop := false
	for i := 0; i < 8; i++ {
		go func() {
			x := 0
			for !stop {
				x++
			}
		}()
	}
	t := time.Now()
	for i := 0; i < 5; i++ {
		time.Sleep(5 * time.Millisecond)
		runtime.GC()
	}
	stop = true
	fmt.Println("preempted", time.Since(t) < 30*time.Second)
	// HTTP over loopback
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "path %s", r.URL.Path) }))
	ok := 0
	var mu sync.Mutex
	for i := 0; i < 50; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			res, err := http.Get("http://" + l.Addr().String() + "/x")
			if err != nil {
				fmt.Println(err)
				return
			}
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(b) == "path /x" {
				mu.Lock()
				ok++
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	fmt.Println("http", ok)
	// processes and signals
	out, err := exec.Command("/proc/self/exe", "child").Output()
	fmt.Print(string(out))
	if err != nil {
		fmt.Println("exec:", err)
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println("signal", <-c)
	// raw blocking threads
	for i := 0; i < 100; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			runtime.LockOSThread()
			ts := syscall.Timespec{Nsec: 20000000}
			syscall.Nanosleep(&ts, nil)
		}()
	}
	wg.Wait()
	fmt.Println("threads done")
}

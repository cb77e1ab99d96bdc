import threading,time
ev=threading.Event(); n=500
l=[]
def f(i):
    ev.wait(); l.append(i)
t=[threading.Thread(target=f,args=(i,)) for i in range(n)]
[x.start() for x in t]; ev.set(); [x.join() for x in t]
print("threads",len(l))
